// Objective "custom": a loss written by the user, with its gradient.
#pragma once

#include <memory>

#include "objective.hpp"
#include "simskip/learn/trainer.hpp"

namespace simskip::learn {

// `loss` must outlive the objective.
std::unique_ptr<Objective> make_custom_objective(const CustomLoss& loss);

}  // namespace simskip::learn
