// The straight-through sign: bits in the forward pass, outputs in the backward pass.
//
// Source: Bengio, Leonard & Courville, Estimating or propagating gradients through stochastic neurons, 2013.
#pragma once

#include <ATen/ATen.h>

#include "buffer.hpp"

namespace simskip::learn {

// code = u + share (sign(u) - u). The gradient with respect to the code is used as that with respect to u: exact for
// share = 0, and the straight-through estimate for share = 1.
inline void straight_through(at::Tensor& code, const at::Tensor& u, double share) {
  take_shape(code, u.sizes());
  at::sign_out(code, u);
  if (share < 1.0) code.mul_(share).add_(u, 1.0 - share);
}

}  // namespace simskip::learn
