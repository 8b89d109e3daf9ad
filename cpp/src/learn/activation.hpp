// The non-linear functions between layers, with their gradients.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace simskip::learn {

// relu; leaky_relu (slope 0.01); gelu (tanh approximation, so that NumPy needs no erf); tanh; silu.
class Activation {
 public:
  // Throws std::invalid_argument for another name.
  explicit Activation(const std::string& name);
  // out = f(x); out may be x only if keeps_input() is false.
  void apply(const at::Tensor& x, at::Tensor& out) const;
  // gradient *= f'(x), given x (before) and y = f(x) (after).
  void scale_gradient(at::Tensor& gradient, const at::Tensor& x, const at::Tensor& y) const;
  // Whether the gradient needs x; otherwise y is enough and x may be overwritten.
  bool keeps_input() const { return kind_ == Kind::gelu || kind_ == Kind::silu; }
  // Whether the gradient needs y itself; otherwise its sign is enough (so dropout may scale y in place).
  bool keeps_output() const { return kind_ == Kind::tanh; }

 private:
  enum class Kind { relu, leaky_relu, gelu, tanh, silu };
  Kind kind_;
};

}  // namespace simskip::learn
