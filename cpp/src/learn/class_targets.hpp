// The classes of a batch's rows as matrices, whether each row has one class or several.
#pragma once

#include <ATen/ATen.h>

#include "objective.hpp"

namespace simskip::learn {

// (B, n_classes): 1 for the row's class, or the targets as given.
at::Tensor class_targets(const Batch& batch, std::int64_t n_classes);

// (B, B) of 0 and 1: whether two rows share a class (for targets: have one in common at 0.5 or more each).
at::Tensor shares_class(const Batch& batch);

}  // namespace simskip::learn
