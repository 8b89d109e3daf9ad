// The straight-through sign: bits in the forward pass, outputs in the backward pass.
//
// Source: Bengio, Leonard & Courville, Estimating or propagating gradients through stochastic neurons, 2013.
#pragma once

#include <ATen/ATen.h>

namespace simskip::learn {

// Gives `buffer` the shape of `like`; memory is allocated only when it grows.
inline void take_shape(at::Tensor& buffer, const at::Tensor& like) {
  if (!buffer.defined())
    buffer = at::empty(like.sizes(), at::kFloat);
  else if (buffer.sizes() != like.sizes())
    buffer.resize_(like.sizes());
}

// code = u + share (sign(u) - u). The gradient with respect to the code is used as that with respect to u: exact for
// share = 0, and the straight-through estimate for share = 1.
inline void straight_through(at::Tensor& code, const at::Tensor& u, double share) {
  take_shape(code, u);
  at::sign_out(code, u);
  if (share < 1.0) code.mul_(share).add_(u, 1.0 - share);
}

}  // namespace simskip::learn
