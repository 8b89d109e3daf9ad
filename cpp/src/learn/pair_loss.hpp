// Binary cross-entropy of the pairs of a batch: is row j like row i?
#pragma once

#include <ATen/ATen.h>

namespace simskip::learn {

// L = sum over i != j of w_ij (log(1 + e^x_ij) - t_ij x_ij), the cross-entropy of sigma(x_ij) against t_ij, with
// w = `alike` where t >= 0.5 and `unlike` elsewhere.
//
// logits and targets: (n, n) contiguous. Replaces the logits by dL/dx, with zeros on the diagonal, and returns L:
// the same for any number of threads. Takes O(n^2).
double pair_cross_entropy(at::Tensor& logits, const at::Tensor& targets, double alike, double unlike);

}  // namespace simskip::learn
