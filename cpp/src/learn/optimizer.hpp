// Optimisers over raw parameter buffers: one fused pass per parameter and step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace simskip::learn {

// A trainable buffer and its gradient, both owned by somebody else and of a fixed address.
struct Parameter {
  float* value = nullptr;
  const float* gradient = nullptr;
  std::int64_t size = 0;
  double rate = 1.0;   // multiplies the learning rate
  bool decay = false;  // takes part in weight decay (matrices do, biases and norms do not)
};

//   adam:  Kingma & Ba, 2015; weight decay is added to the gradient
//   adamw: Loshchilov & Hutter, 2019; weight decay shrinks the weight by rate * decay
//   sgd:   with momentum 0.9; weight decay is added to the gradient
class Optimizer {
 public:
  // Throws std::invalid_argument for another name.
  Optimizer(const std::string& name, double weight_decay, std::vector<Parameter> parameters);
  void step(double learning_rate);
  // The moments of every parameter, then the number of steps in two floats.
  std::vector<std::vector<float>> state() const;
  // Throws std::invalid_argument if the sizes are not those of state().
  void set_state(const std::vector<std::vector<float>>& tensors);

 private:
  enum class Kind { adam, adamw, sgd };
  Kind kind_;
  double weight_decay_;
  std::int64_t steps_ = 0;
  std::vector<Parameter> parameters_;
  std::vector<std::vector<float>> first_, second_;
};

}  // namespace simskip::learn
