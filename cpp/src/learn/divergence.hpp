// The divergence between two rows of logits, with its gradient, while both rows are in the first-level cache.
#pragma once

#include <cstdint>

namespace simskip::learn {

struct Divergence {
  double value = 0.0;  // KL(softmax(target) || softmax(model)), at least 0 but for rounding
  double slope = 0.0;  // sum_j gradient_j model_j: what a common factor of the model's logits would change
};

// Replaces `model` by weight * (softmax(model) - softmax(target)), weight times the divergence's gradient; the slope
// has that factor too. Entry `self` is left out of both distributions (its gradient is 0, target[self] is overwritten).
// Exponentials are exact to 2 ulp; those of logits 87 below a row's largest are 0. Needs n >= 2; O(n), no allocation.
Divergence diverge(float* target, float* model, std::int64_t n, std::int64_t self, float weight);

}  // namespace simskip::learn
