#include "linear_head.hpp"

#include <cmath>
#include <random>

#include "buffer.hpp"

namespace simskip::learn {

LinearHead::LinearHead(std::int64_t in, std::int64_t out, double scale, double rate, std::uint64_t seed)
    : rate_(rate),
      weight_(at::empty({out, in}, at::kFloat)),
      bias_(at::zeros({out}, at::kFloat)),
      weight_gradient_(at::zeros({out, in}, at::kFloat)),
      bias_gradient_(at::zeros({out}, at::kFloat)) {
  std::mt19937_64 engine(seed);
  const double bound = scale / std::sqrt(static_cast<double>(in));
  float* values = weight_.data_ptr<float>();
  for (std::int64_t i = 0; i < weight_.numel(); ++i)
    values[i] = static_cast<float>((static_cast<double>(engine() >> 11) * 0x1.0p-53 * 2.0 - 1.0) * bound);
}

at::Tensor& LinearHead::forward(const at::Tensor& x) {
  input_ = x;
  if (!output_.defined() || output_.size(0) != x.size(0)) output_ = at::empty({x.size(0), weight_.size(0)}, at::kFloat);
  return at::addmm_out(output_, bias_, x, weight_.t());
}

at::Tensor& LinearHead::backward(const at::Tensor& gradient) {
  at::mm_out(weight_gradient_, gradient.t(), input_);
  at::sum_out(bias_gradient_, gradient, 0);
  take_shape(input_gradient_, input_.sizes());
  return at::mm_out(input_gradient_, gradient, weight_);
}

std::vector<Parameter> LinearHead::parameters() {
  return {{weight_.data_ptr<float>(), weight_gradient_.data_ptr<float>(), weight_.numel(), rate_, true},
          {bias_.data_ptr<float>(), bias_gradient_.data_ptr<float>(), bias_.numel(), rate_, false}};
}

}  // namespace simskip::learn
