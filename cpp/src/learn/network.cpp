#include "network.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "buffer.hpp"
#include "matrix_product.hpp"
#include "random.hpp"

namespace simskip::learn {
namespace {

constexpr double norm_momentum = 0.1, norm_epsilon = 1e-5;

at::Tensor copy_of(const float* values, at::IntArrayRef shape) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  std::memcpy(tensor.data_ptr<float>(), values, static_cast<std::size_t>(tensor.numel()) * sizeof(float));
  return tensor;
}

// Uniform in +-bound, from a portable engine.
at::Tensor uniform(at::IntArrayRef shape, double bound, std::mt19937_64& engine) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  float* values = tensor.data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = static_cast<float>((static_cast<double>(engine() >> 11) * 0x1.0p-53 * 2.0 - 1.0) * bound);
  return tensor;
}

std::vector<float> to_vector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kFloat).contiguous();
  const float* values = flat.data_ptr<float>();
  return {values, values + flat.numel()};
}

void linear(at::Tensor& out, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  take_shape(out, {x.size(0), weight.size(1)});
  multiply(out, x, weight, bias);
}

}  // namespace

Network::Layer Network::make_layer(std::int64_t in, std::int64_t out, bool norm, std::mt19937_64& engine) {
  // The bounds torch.nn.Linear uses: 1 / sqrt(in).
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  Layer layer;
  layer.weight = uniform({out, in}, bound, engine).t().contiguous();
  layer.bias = uniform({out}, bound, engine);
  layer.weight_gradient = at::zeros({in, out}, at::kFloat);
  layer.bias_gradient = at::zeros({out}, at::kFloat);
  if (norm) {
    Norm n;
    n.weight = at::ones({out}, at::kFloat);
    n.bias = at::zeros({out}, at::kFloat);
    n.mean = at::zeros({out}, at::kFloat);
    n.variance = at::ones({out}, at::kFloat);
    n.weight_gradient = at::zeros({out}, at::kFloat);
    n.bias_gradient = at::zeros({out}, at::kFloat);
    layer.norm = std::move(n);
  }
  return layer;
}

Network::Network(const NetworkSettings& settings, const Tower& tower, std::uint64_t seed)
    : settings_(settings), activation_(settings.activation), seed_(seed) {
  if (settings.output != "tanh" && settings.output != "none")
    throw std::invalid_argument("output must be one of tanh, none; got " + settings.output);
  if (tower.centre) centre_ = copy_of(tower.centre, {tower.d});
  if (tower.gain) gain_ = copy_of(tower.gain, {tower.d});
  std::mt19937_64 engine(seed);
  std::int64_t in = tower.d;
  for (const std::int64_t width : settings.hidden) {
    layers_.push_back(make_layer(in, width, settings.batch_norm, engine));
    in = width;
  }
  const bool residual = tower.residual_weight || (tower.start && !tower.start->residual.empty());
  layers_.push_back(make_layer(in, settings.n_bits, settings.batch_norm && !residual, engine));
  if (residual) {
    layers_.back().weight.zero_();
    layers_.back().bias.zero_();
    Layer path;
    path.weight = at::zeros({tower.d, settings.n_bits}, at::kFloat);
    path.bias = at::zeros({settings.n_bits}, at::kFloat);
    if (tower.residual_weight) {
      path.weight.copy_(copy_of(tower.residual_weight, {settings.n_bits, tower.d}).t());
      path.bias.copy_(copy_of(tower.residual_bias, {settings.n_bits}));
    }
    path.weight_gradient = at::zeros_like(path.weight);
    path.bias_gradient = at::zeros_like(path.bias);
    residual_ = std::move(path);
  }
  if (tower.start) start_from(*tower.start);
}

void Network::start_from(const DenseNetwork& start) {
  const auto take = [](Layer& layer, const DenseLayer& from) {
    if (from.in != layer.weight.size(0) || from.out != layer.weight.size(1) || layer.norm)
      throw std::invalid_argument("the network to start from has other layers");
    layer.weight.copy_(copy_of(from.weight.data(), {from.out, from.in}).t());
    layer.bias.copy_(copy_of(from.bias.data(), {from.out}));
  };
  if (start.layers.size() != layers_.size() || start.residual.empty() == residual_.has_value())
    throw std::invalid_argument("the network to start from has other layers");
  for (std::size_t l = 0; l < layers_.size(); ++l) take(layers_[l], start.layers[l]);
  if (residual_) take(*residual_, start.residual.front());
}

void Network::drop(at::Tensor& values, at::Tensor& mask, double p, std::uint64_t layer, std::uint64_t step) {
  take_shape(mask, values.sizes());
  fill_dropout_mask(mask.data_ptr<float>(), mask.numel(), p, stream_key(seed_, layer, step));
  values.mul_(mask);
}

const at::Tensor& Network::forward(const at::Tensor& z, bool training, std::uint64_t step) {
  const bool drop_input = training && settings_.input_dropout > 0;
  at::Tensor x = z;
  if (centre_.defined() || gain_.defined() || drop_input) {
    take_shape(input_, z.sizes());
    if (gain_.defined() && !centre_.defined()) {
      at::mul_out(input_, z, gain_);
    } else {
      input_.copy_(z);
      if (centre_.defined()) input_.sub_(centre_);
      if (gain_.defined()) input_.mul_(gain_);
    }
    if (drop_input) drop(input_, input_mask_, settings_.input_dropout, 0, step);
    x = input_;
  }
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    layer.input = x;
    linear(layer.linear, x, layer.weight, layer.bias);
    layer.normed = layer.linear;
    if (layer.norm) {
      Norm& n = *layer.norm;
      std::tie(layer.normed, n.batch_mean, n.batch_inverse) = at::native_batch_norm(
          layer.linear, n.weight, n.bias, n.mean, n.variance, training, norm_momentum, norm_epsilon);
    }
    if (l + 1 == layers_.size()) break;
    if (activation_.keeps_input()) {
      take_shape(layer.activated, layer.normed.sizes());
    } else {
      layer.activated = layer.normed;
    }
    activation_.apply(layer.normed, layer.activated);
    layer.active = layer.activated;
    if (training && settings_.dropout > 0) {
      if (activation_.keeps_output()) layer.active = layer.activated.clone();
      drop(layer.active, layer.mask, settings_.dropout, l + 1, step);
    }
    x = layer.active;
  }
  at::Tensor& y = layers_.back().normed;
  if (residual_) {
    residual_->input = z;
    linear(residual_->linear, z, residual_->weight, residual_->bias);
    y.add_(residual_->linear);
  }
  take_shape(output_, y.sizes());
  if (settings_.output == "tanh") {
    at::tanh_out(output_, y);
  } else {
    output_.copy_(y);
  }
  return output_;
}

void Network::backward(const at::Tensor& gradient) {
  take_shape(gradient_, gradient.sizes());
  if (settings_.output == "tanh") {
    at::tanh_backward_out(gradient_, gradient, output_);
  } else {
    gradient_.copy_(gradient);
  }
  if (residual_) {
    multiply(residual_->weight_gradient, residual_->input.t(), gradient_);
    at::sum_out(residual_->bias_gradient, gradient_, 0);
  }
  at::Tensor g = gradient_;
  for (std::size_t l = layers_.size(); l-- > 0;) {
    Layer& layer = layers_[l];
    if (l + 1 < layers_.size()) {
      // g is the gradient of the layer's output and lies in a buffer of our own.
      if (settings_.dropout > 0) g.mul_(layer.mask);
      activation_.scale_gradient(g, layer.normed, layer.activated);
    }
    if (layer.norm) {
      Norm& n = *layer.norm;
      at::Tensor weight_gradient, bias_gradient;
      std::tie(g, weight_gradient, bias_gradient) =
          at::native_batch_norm_backward(g, layer.linear, n.weight, n.mean, n.variance, n.batch_mean, n.batch_inverse,
                                         true, norm_epsilon, {true, true, true});
      n.weight_gradient.copy_(weight_gradient);
      n.bias_gradient.copy_(bias_gradient);
    }
    multiply(layer.weight_gradient, layer.input.t(), g);
    at::sum_out(layer.bias_gradient, g, 0);
    if (l == 0) break;
    take_shape(layer.input_gradient, layer.input.sizes());
    multiply(layer.input_gradient, g, layer.weight.t());
    g = layer.input_gradient;
  }
}

std::vector<Parameter> Network::parameters() {
  std::vector<Parameter> all;
  const auto add = [&all](at::Tensor& value, const at::Tensor& gradient, bool decay) {
    all.push_back({value.data_ptr<float>(), gradient.data_ptr<float>(), value.numel(), 1.0, decay});
  };
  const auto add_layer = [&add](Layer& layer) {
    add(layer.weight, layer.weight_gradient, true);
    add(layer.bias, layer.bias_gradient, false);
    if (layer.norm) {
      add(layer.norm->weight, layer.norm->weight_gradient, false);
      add(layer.norm->bias, layer.norm->bias_gradient, false);
    }
  };
  for (Layer& layer : layers_) add_layer(layer);
  if (residual_) add_layer(*residual_);
  return all;
}

std::vector<at::Tensor> Network::tensors() const {
  std::vector<at::Tensor> all;
  const auto add = [&all](const Layer& layer) {
    all.insert(all.end(), {layer.weight, layer.bias});
    if (layer.norm)
      all.insert(all.end(), {layer.norm->weight, layer.norm->bias, layer.norm->mean, layer.norm->variance});
  };
  for (const Layer& layer : layers_) add(layer);
  if (residual_) add(*residual_);
  return all;
}

std::vector<float> Network::state() const {
  std::vector<float> values;
  for (const at::Tensor& tensor : tensors())
    values.insert(values.end(), tensor.data_ptr<float>(), tensor.data_ptr<float>() + tensor.numel());
  return values;
}

void Network::set_state(const std::vector<float>& values) {
  std::size_t size = 0;
  for (const at::Tensor& tensor : tensors()) size += static_cast<std::size_t>(tensor.numel());
  if (size != values.size()) throw std::invalid_argument("the checkpoint is of another network");
  const float* next = values.data();
  for (const at::Tensor& tensor : tensors()) {
    std::copy_n(next, tensor.numel(), tensor.data_ptr<float>());
    next += tensor.numel();
  }
}

DenseNetwork Network::exported() const {
  DenseNetwork dense;
  dense.activation = settings_.activation;
  dense.output = settings_.output;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    // In double: folding must not cost accuracy.
    at::Tensor weight = layer.weight.t().to(at::kDouble);
    at::Tensor bias = layer.bias.to(at::kDouble);
    if (l == 0) {
      if (gain_.defined()) weight = weight * gain_.to(at::kDouble);
      if (centre_.defined()) bias = bias - weight.mv(centre_.to(at::kDouble));
    }
    if (layer.norm) {
      const Norm& n = *layer.norm;
      const at::Tensor scale = n.weight.to(at::kDouble) * (n.variance.to(at::kDouble) + norm_epsilon).rsqrt();
      weight = weight * scale.unsqueeze(1);
      bias = (bias - n.mean.to(at::kDouble)) * scale + n.bias.to(at::kDouble);
    }
    dense.layers.push_back({weight.size(1), weight.size(0), to_vector(weight), to_vector(bias)});
  }
  if (residual_)
    dense.residual.push_back({residual_->weight.size(0), residual_->weight.size(1), to_vector(residual_->weight.t()),
                              to_vector(residual_->bias)});
  return dense;
}

}  // namespace simskip::learn
