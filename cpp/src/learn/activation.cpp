#include "activation.hpp"

#include <stdexcept>

namespace simskip::learn {
namespace {
constexpr double slope = 0.01;
}

Activation::Activation(const std::string& name) {
  if (name == "relu") {
    kind_ = Kind::relu;
  } else if (name == "leaky_relu") {
    kind_ = Kind::leaky_relu;
  } else if (name == "gelu") {
    kind_ = Kind::gelu;
  } else if (name == "tanh") {
    kind_ = Kind::tanh;
  } else if (name == "silu") {
    kind_ = Kind::silu;
  } else {
    throw std::invalid_argument("activation must be one of relu, leaky_relu, gelu, tanh, silu; got " + name);
  }
}

void Activation::apply(const at::Tensor& x, at::Tensor& out) const {
  switch (kind_) {
    case Kind::relu:
      at::clamp_min_out(out, x, 0);
      break;
    case Kind::leaky_relu:
      at::leaky_relu_out(out, x, slope);
      break;
    case Kind::gelu:
      at::gelu_out(out, x, "tanh");
      break;
    case Kind::tanh:
      at::tanh_out(out, x);
      break;
    case Kind::silu:
      at::silu_out(out, x);
      break;
  }
}

void Activation::scale_gradient(at::Tensor& gradient, const at::Tensor& x, const at::Tensor& y) const {
  switch (kind_) {
    case Kind::relu:
      at::threshold_backward_out(gradient, gradient, y, 0);
      break;
    // The slope is positive, so the sign of y is the sign of x.
    case Kind::leaky_relu:
      at::leaky_relu_backward_out(gradient, gradient, y, slope, true);
      break;
    case Kind::gelu:
      at::gelu_backward_out(gradient, gradient, x, "tanh");
      break;
    case Kind::tanh:
      at::tanh_backward_out(gradient, gradient, y);
      break;
    case Kind::silu:
      at::silu_backward_out(gradient, gradient, x);
      break;
  }
}

}  // namespace simskip::learn
