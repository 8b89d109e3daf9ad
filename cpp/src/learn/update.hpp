// The optimisers' arithmetic: one pass over a parameter's values and what is remembered about them.
#pragma once

#include <cstdint>

namespace simskip::learn {

struct AdamUpdate {
  float size;     // learning rate over the first moment's correction 1 - beta1^t
  float inverse;  // 1 / sqrt of the second moment's correction 1 - beta2^t
  float decay;    // added to the gradient, times the value
  float shrink;   // multiplies the value
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;

  //   first = beta1 first + (1 - beta1) g,  second = beta2 second + (1 - beta2) g^2,  g = gradient + decay value
  //   value = shrink value - size first / (inverse sqrt(second) + epsilon)
  //
  // for n of each, in the widest vectors that the processor and ATEN_CPU_CAPABILITY allow. Values below 1e-38 become
  // 0: a moment whose gradient stays 0 would shrink to that size, stay there, and slow every later step down.
  void operator()(float* value, const float* gradient, float* first, float* second, std::int64_t n) const;
};

struct MomentumUpdate {
  float size;   // learning rate
  float decay;  // added to the gradient, times the value
  float momentum = 0.9f;

  //   first = momentum first + gradient + decay value,  value = value - size first
  void operator()(float* value, const float* gradient, float* first, std::int64_t n) const;
};

}  // namespace simskip::learn
