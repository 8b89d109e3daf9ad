// One objective asked of several prefixes of a code at once ("matryoshka" codes).
//
//   L = mean over widths w of L_w(u[:, :w]), the widths being the prefixes and n_bits
//
// Source: Kusupati et al., Matryoshka representation learning, NeurIPS 2022, with codes in place of vectors.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "objective.hpp"

namespace simskip::learn {

class PrefixLoss {
 public:
  // `objectives`: one for each of `widths`, which ascend; the last is the number of bits.
  PrefixLoss(std::vector<std::int64_t> widths, std::vector<std::unique_ptr<Objective>> objectives);

  // As Objective::evaluate. The parts are those of the full code.
  Evaluation evaluate(const at::Tensor& u, const Batch& batch);
  std::vector<Parameter> parameters();
  at::Tensor centres() const { return objectives_.back()->centres(); }

 private:
  std::vector<std::int64_t> widths_;
  std::vector<std::unique_ptr<Objective>> objectives_;
  at::Tensor gradient_;
};

}  // namespace simskip::learn
