// How far outputs are from the bits they become, as a term of a loss.
#pragma once

#include <ATen/ATen.h>

namespace simskip::learn {

// mean (u - sign u)^2; adds weight times its gradient to `gradient`.
double add_square_gap(const at::Tensor& u, double weight, at::Tensor& gradient);

// mean |u - sign u|^3, likewise.
double add_cubic_gap(const at::Tensor& u, double weight, at::Tensor& gradient);

}  // namespace simskip::learn
