// A linear layer that an objective learns beside the network: logits of classes, or a reconstruction.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "optimizer.hpp"

namespace simskip::learn {

class LinearHead {
 public:
  // Weights start uniform in +-scale / sqrt(in), the bias at zero. `rate` multiplies the learning rate.
  LinearHead(std::int64_t in, std::int64_t out, double scale, double rate, std::uint64_t seed);

  // (B, in) -> (B, out), valid until the next call.
  at::Tensor& forward(const at::Tensor& x);
  // From dL/dout for the last forward pass: sets the gradients of weight and bias, returns dL/dx, valid until the
  // next call.
  at::Tensor& backward(const at::Tensor& gradient);

  std::vector<Parameter> parameters();

 private:
  double rate_;
  at::Tensor weight_, bias_, weight_gradient_, bias_gradient_;
  at::Tensor input_, output_, input_gradient_;
};

}  // namespace simskip::learn
