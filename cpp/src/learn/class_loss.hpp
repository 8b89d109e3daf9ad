// Cross-entropy of class logits, for rows with one class and with several.
#pragma once

#include <ATen/ATen.h>

#include "objective.hpp"

namespace simskip::learn {

// Rows with labels: mean_i -log softmax(logits_i)[label_i]. Rows with targets: mean_i sum_c BCE(sigma(logits_ic),
// target_ic), each class a yes-or-no question of its own. Replaces the logits by the gradient.
double class_cross_entropy(at::Tensor& logits, const Batch& batch);

// mean_i -sum_c t_ic log softmax(logits_i)_c, where t_i is the row's classes scaled to sum 1 (rows without a class
// count nothing). Replaces the logits by the gradient.
double shared_cross_entropy(at::Tensor& logits, const Batch& batch);

}  // namespace simskip::learn
