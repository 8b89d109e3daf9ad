#include "optimizer.hpp"

#include <ATen/Parallel.h>

#include <cmath>
#include <stdexcept>

#include "update.hpp"

namespace simskip::learn {
namespace {
constexpr double beta1 = 0.9, beta2 = 0.999;
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
    float* first = first_[k].data();
    float* second = second_[k].data();
    if (kind_ == Kind::sgd) {
      const MomentumUpdate update{static_cast<float>(rate), added_decay};
      at::parallel_for(0, p.size, values_per_task, [&](std::int64_t begin, std::int64_t end) {
        update(p.value + begin, p.gradient + begin, first + begin, end - begin);
      });
      continue;
    }
    const AdamUpdate update{static_cast<float>(rate / correction1), static_cast<float>(1.0 / std::sqrt(correction2)),
                            added_decay, shrink};
    at::parallel_for(0, p.size, values_per_task, [&](std::int64_t begin, std::int64_t end) {
      update(p.value + begin, p.gradient + begin, first + begin, second + begin, end - begin);
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
