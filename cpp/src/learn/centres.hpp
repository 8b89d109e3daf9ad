// One code per class, far from those of the other classes: what the outputs of a class can be drawn to.
#pragma once

#include <ATen/ATen.h>

#include "objective.hpp"

namespace simskip::learn {

// (n_classes, n_bits) of +-1: the first n_bits columns of codes of code_bits. Where the bit count b is a power of two
// and there are at most 2 b classes: rows of the Hadamard matrix and their negatives, all b/2 or b bits apart. Else
// random codes chosen one after the other, each the farthest of many candidates from those before it; O(classes^2).
at::Tensor class_centres(const ObjectiveContext& context);

// (B, n_bits): the centre of each row's class. Of rows with several classes the majority of their centres, bit by bit;
// the first class decides a draw.
at::Tensor centres_of(const Batch& batch, const at::Tensor& centres);

}  // namespace simskip::learn
