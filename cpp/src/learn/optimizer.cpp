#include "optimizer.hpp"

#include <ATen/Parallel.h>

#include <cmath>
#include <stdexcept>

namespace simskip::learn {
namespace {
constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, momentum = 0.9;
constexpr std::int64_t values_per_task = 1 << 15;
}  // namespace

Optimizer::Optimizer(const std::string& name, double weight_decay, std::vector<Parameter> parameters)
    : weight_decay_(weight_decay), parameters_(std::move(parameters)) {
  if (name == "adam") {
    kind_ = Kind::adam;
  } else if (name == "adamw") {
    kind_ = Kind::adamw;
  } else if (name == "sgd") {
    kind_ = Kind::sgd;
  } else {
    throw std::invalid_argument("optimizer must be one of adam, adamw, sgd; got " + name);
  }
  for (const Parameter& p : parameters_) {
    first_.emplace_back(static_cast<std::size_t>(p.size), 0.0f);
    second_.emplace_back(static_cast<std::size_t>(kind_ == Kind::sgd ? 0 : p.size), 0.0f);
  }
}

void Optimizer::step(double learning_rate) {
  ++steps_;
  const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(steps_));
  const double correction2 = 1.0 - std::pow(beta2, static_cast<double>(steps_));
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    const Parameter& p = parameters_[k];
    const double rate = learning_rate * p.rate;
    const double decay = p.decay ? weight_decay_ : 0.0;
    const auto added_decay = static_cast<float>(kind_ == Kind::adamw ? 0.0 : decay);
    const auto shrink = static_cast<float>(kind_ == Kind::adamw ? 1.0 - rate * decay : 1.0);
    float* __restrict value = p.value;
    const float* __restrict gradient = p.gradient;
    float* __restrict first = first_[k].data();
    float* __restrict second = second_[k].data();
    if (kind_ == Kind::sgd) {
      const auto size = static_cast<float>(rate);
      at::parallel_for(0, p.size, values_per_task, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          first[i] = static_cast<float>(momentum) * first[i] + gradient[i] + added_decay * value[i];
          value[i] -= size * first[i];
        }
      });
      continue;
    }
    const auto size = static_cast<float>(rate / correction1);
    const auto inverse = static_cast<float>(1.0 / std::sqrt(correction2));
    at::parallel_for(0, p.size, values_per_task, [&](std::int64_t begin, std::int64_t end) {
      constexpr auto b1 = static_cast<float>(beta1), b2 = static_cast<float>(beta2);
      for (std::int64_t i = begin; i < end; ++i) {
        const float g = gradient[i] + added_decay * value[i];
        first[i] = b1 * first[i] + (1.0f - b1) * g;
        second[i] = b2 * second[i] + (1.0f - b2) * g * g;
        value[i] = shrink * value[i] - size * first[i] / (std::sqrt(second[i]) * inverse + static_cast<float>(epsilon));
      }
    });
  }
}

std::vector<std::vector<float>> Optimizer::state() const {
  std::vector<std::vector<float>> tensors = first_;
  tensors.insert(tensors.end(), second_.begin(), second_.end());
  // 24 bits each: exact in a float.
  tensors.push_back({static_cast<float>(steps_ >> 24), static_cast<float>(steps_ & 0xFFFFFF)});
  return tensors;
}

void Optimizer::set_state(const std::vector<std::vector<float>>& tensors) {
  const std::vector<std::vector<float>> now = state();
  bool fits = tensors.size() == now.size();
  for (std::size_t i = 0; fits && i < now.size(); ++i) fits = tensors[i].size() == now[i].size();
  if (!fits) throw std::invalid_argument("the checkpoint is of another optimiser or network");
  const auto split = tensors.begin() + static_cast<std::ptrdiff_t>(first_.size());
  first_.assign(tensors.begin(), split);
  second_.assign(split, tensors.end() - 1);
  steps_ = (static_cast<std::int64_t>(tensors.back()[0]) << 24) + static_cast<std::int64_t>(tensors.back()[1]);
}

}  // namespace simskip::learn
