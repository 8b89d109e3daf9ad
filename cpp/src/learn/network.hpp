// The network while it is trained: y = W_r z + c + MLP((z - centre) * gain), u = output(y).
//
// Forward and backward passes are written out over buffers that live as long as the network, so that a step
// allocates nothing of the size of the batch but what batch-norm returns.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <random>
#include <vector>

#include "activation.hpp"
#include "optimizer.hpp"
#include "simskip/learn/dense_network.hpp"
#include "simskip/learn/settings.hpp"
#include "simskip/learn/trainer.hpp"

namespace simskip::learn {

class Network {
 public:
  // Takes input width, centre, gain and the start of the weights from `tower`. With a residual path the last
  // layer of the MLP starts at zero, so that the untrained network is the linear one.
  Network(const NetworkSettings& settings, const Tower& tower, std::uint64_t seed);

  // z: (B, d) -> (B, n_bits), valid until the next call. `step` names the dropout masks.
  const at::Tensor& forward(const at::Tensor& z, bool training, std::uint64_t step = 0);
  // Gradients of all parameters from dL/du, for the last forward pass with training = true.
  void backward(const at::Tensor& gradient);

  std::vector<Parameter> parameters();
  // Everything that training changes: parameters and running moments, flat and in a fixed order.
  std::vector<float> state() const;
  // Throws std::invalid_argument if the size is not that of state().
  void set_state(const std::vector<float>& values);
  // Folds batch-norm, centre and gain away.
  DenseNetwork exported() const;

 private:
  struct Norm {
    at::Tensor weight, bias, mean, variance;  // mean and variance: running
    at::Tensor weight_gradient, bias_gradient, batch_mean, batch_inverse;
  };
  struct Layer {
    // Weights lie (in, out), so that neither the forward pass nor the weights' gradient has to turn them.
    at::Tensor weight, bias, weight_gradient, bias_gradient;
    std::optional<Norm> norm;
    at::Tensor input;                    // what the last forward pass gave to it
    at::Tensor linear, normed;           // before and after batch-norm (the same without it)
    at::Tensor activated, active, mask;  // before and after dropout (the same where the gradient allows it)
    at::Tensor input_gradient;
  };

  void start_from(const DenseNetwork& start);
  std::vector<at::Tensor> tensors() const;
  Layer make_layer(std::int64_t in, std::int64_t out, bool norm, std::mt19937_64& engine);
  void drop(at::Tensor& values, at::Tensor& mask, double p, std::uint64_t layer, std::uint64_t step);

  NetworkSettings settings_;
  Activation activation_;
  std::uint64_t seed_;
  at::Tensor centre_, gain_;  // undefined: 0 and 1
  std::vector<Layer> layers_;
  std::optional<Layer> residual_;
  at::Tensor input_, input_mask_, output_, gradient_;
};

}  // namespace simskip::learn
