#include "quantization.hpp"

namespace simskip::learn {

double add_square_gap(const at::Tensor& u, double weight, at::Tensor& gradient) {
  const at::Tensor gap = u - u.sign();
  gradient.add_(gap, weight * 2.0 / static_cast<double>(u.numel()));
  return gap.square_().mean().item<double>();
}

double add_cubic_gap(const at::Tensor& u, double weight, at::Tensor& gradient) {
  const at::Tensor gap = u - u.sign();
  const at::Tensor size = gap.abs();
  gradient.add_(gap.mul_(size), weight * 3.0 / static_cast<double>(u.numel()));
  return size.pow_(3).mean().item<double>();
}

}  // namespace simskip::learn
