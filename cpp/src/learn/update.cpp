#include "update.hpp"

#include <cmath>

#include "instruction_sets.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace simskip::learn {
namespace {

// Results and operands below the smallest normal float count as 0 while this lives, in this thread.
class NoDenormals {
 public:
#if defined(__x86_64__)
  NoDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON); }
  ~NoDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
  NoDenormals() {}
#endif
  NoDenormals(const NoDenormals&) = delete;
  NoDenormals& operator=(const NoDenormals&) = delete;
};

SIMSKIP_LOOP void adam(const AdamUpdate& u, float* __restrict value, const float* __restrict gradient,
                       float* __restrict first, float* __restrict second, std::int64_t n) {
  // Copies, which the compiler knows no store can change.
  const float size = u.size, inverse = u.inverse, decay = u.decay, shrink = u.shrink;
  const float beta1 = u.beta1, beta2 = u.beta2, epsilon = u.epsilon;
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] + decay * value[i];
    first[i] = beta1 * first[i] + (1.0f - beta1) * g;
    second[i] = beta2 * second[i] + (1.0f - beta2) * g * g;
    value[i] = shrink * value[i] - size * first[i] / (std::sqrt(second[i]) * inverse + epsilon);
  }
}

void adam_baseline(const AdamUpdate& u, float* value, const float* gradient, float* first, float* second,
                   std::int64_t n) {
  adam(u, value, gradient, first, second, n);
}

SIMSKIP_AVX2 void adam_avx2(const AdamUpdate& u, float* value, const float* gradient, float* first, float* second,
                            std::int64_t n) {
  adam(u, value, gradient, first, second, n);
}

SIMSKIP_AVX512 void adam_avx512(const AdamUpdate& u, float* value, const float* gradient, float* first, float* second,
                                std::int64_t n) {
  adam(u, value, gradient, first, second, n);
}

}  // namespace

void AdamUpdate::operator()(float* value, const float* gradient, float* first, float* second, std::int64_t n) const {
  static const auto chosen = best_of(adam_baseline, adam_avx2, adam_avx512);
  const NoDenormals no_denormals;
  chosen(*this, value, gradient, first, second, n);
}

void MomentumUpdate::operator()(float* value, const float* gradient, float* first, std::int64_t n) const {
  const NoDenormals no_denormals;
  float* __restrict v = value;
  float* __restrict remembered = first;
  for (std::int64_t i = 0; i < n; ++i) {
    remembered[i] = momentum * remembered[i] + gradient[i] + decay * v[i];
    v[i] -= size * remembered[i];
  }
}

}  // namespace simskip::learn
