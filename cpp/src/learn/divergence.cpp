#include "divergence.hpp"

#include <cmath>
#include <cstring>

#include "instruction_sets.hpp"

namespace simskip::learn {
namespace {

constexpr std::int64_t lanes = 16;
// Far below any logit, so that its exponential is 0; finite, so that 0 times it is 0.
constexpr float never = -1e9f;

// One vector with AVX-512, two or four narrower ones elsewhere. Never passed by value: how, depends on the target.
using Floats [[gnu::vector_size(sizeof(float) * lanes)]] = float;
using Words [[gnu::vector_size(sizeof(float) * lanes)]] = std::int32_t;

// The last vector of a row is filled up.
SIMSKIP_LOOP void load(Floats& out, const float* row, std::int64_t i, std::int64_t n) {
  if (i + lanes <= n) {
    std::memcpy(&out, row + i, sizeof(Floats));
  } else {
    out = Floats{} + never;
    std::memcpy(&out, row + i, static_cast<std::size_t>(n - i) * sizeof(float));
  }
}

SIMSKIP_LOOP void store(const Floats& in, float* row, std::int64_t i, std::int64_t n) {
  if (i + lanes <= n) {
    std::memcpy(row + i, &in, sizeof(Floats));
  } else {
    std::memcpy(row + i, &in, static_cast<std::size_t>(n - i) * sizeof(float));
  }
}

// out = e^x for x <= 0: 2^k e^r with |r| <= ln(2) / 2, and the polynomial of Cephes' expf (S. Moshier) for e^r.
SIMSKIP_LOOP void exponential(Floats& out, const Floats& x) {
  // Added, it leaves the nearest whole number in a float's lowest bits; 0x4B400000 are its own bits.
  constexpr float rounder = 12582912.0f;
  const Floats shifted = x * 1.44269504f + rounder;
  const Floats k = shifted - rounder;
  const Floats r = x - k * 0.693359375f + k * 2.12194440e-4f;
  Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  Words bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits - 0x4B400000 + 127) << 23;
  Floats power;
  std::memcpy(&power, &bits, sizeof power);
  out = x > -87.0f ? p * power : Floats{};
}

SIMSKIP_LOOP double total(const Floats& values) {
  double sum = 0.0;
  for (std::int64_t lane = 0; lane < lanes; ++lane) sum += static_cast<double>(values[lane]);
  return sum;
}

SIMSKIP_LOOP float largest(const Floats& values) {
  float most = values[0];
  for (std::int64_t lane = 1; lane < lanes; ++lane) most = values[lane] > most ? values[lane] : most;
  return most;
}

SIMSKIP_LOOP void row_divergence(float* target, float* model, std::int64_t n, float weight, Divergence& result) {
  Floats t, m, target_most = Floats{} + never, model_most = target_most;
  for (std::int64_t i = 0; i < n; i += lanes) {
    load(t, target, i, n);
    load(m, model, i, n);
    target_most = t > target_most ? t : target_most;
    model_most = m > model_most ? m : model_most;
  }
  const float target_top = largest(target_most), model_top = largest(model_most);
  Floats e, target_sum{}, model_sum{};
  for (std::int64_t i = 0; i < n; i += lanes) {
    load(t, target, i, n);
    load(m, model, i, n);
    exponential(e, t - target_top);
    target_sum += e;
    exponential(e, m - model_top);
    model_sum += e;
  }
  const double target_total = total(target_sum), model_total = total(model_sum);
  const auto target_inverse = static_cast<float>(1.0 / target_total);
  const auto model_inverse = static_cast<float>(1.0 / model_total);
  // log p_t - log p_m = (t - m) - apart
  const auto apart = static_cast<float>((static_cast<double>(target_top) + std::log(target_total)) - model_top -
                                        std::log(model_total));
  Floats f, value{}, slope{};
  for (std::int64_t i = 0; i < n; i += lanes) {
    load(t, target, i, n);
    load(m, model, i, n);
    // Once more instead of kept: a row's exponentials would push its logits out of the cache.
    exponential(e, t - target_top);
    exponential(f, m - model_top);
    e *= target_inverse;
    f *= model_inverse;
    value += e * (t - m - apart);
    f = (f - e) * weight;
    slope += f * m;
    store(f, model, i, n);
  }
  result = {total(value), total(slope)};
}

void row_divergence_baseline(float* target, float* model, std::int64_t n, float weight, Divergence& result) {
  row_divergence(target, model, n, weight, result);
}

SIMSKIP_AVX2 void row_divergence_avx2(float* target, float* model, std::int64_t n, float weight, Divergence& result) {
  row_divergence(target, model, n, weight, result);
}

SIMSKIP_AVX512 void row_divergence_avx512(float* target, float* model, std::int64_t n, float weight,
                                          Divergence& result) {
  row_divergence(target, model, n, weight, result);
}

}  // namespace

Divergence diverge(float* target, float* model, std::int64_t n, std::int64_t self, float weight) {
  static const auto chosen = best_of(row_divergence_baseline, row_divergence_avx2, row_divergence_avx512);
  target[self] = model[self] = never;
  Divergence result;
  chosen(target, model, n, weight, result);
  return result;
}

}  // namespace simskip::learn
