#include "prefix_loss.hpp"

namespace simskip::learn {

PrefixLoss::PrefixLoss(std::vector<std::int64_t> widths, std::vector<std::unique_ptr<Objective>> objectives)
    : widths_(std::move(widths)), objectives_(std::move(objectives)) {}

Evaluation PrefixLoss::evaluate(const at::Tensor& u, const Batch& batch) {
  Evaluation full = objectives_.back()->evaluate(u, batch);
  if (widths_.size() == 1) return full;
  const double share = 1.0 / static_cast<double>(widths_.size());
  gradient_ = full.gradient * share;
  full.loss *= share;
  for (std::size_t i = 0; i + 1 < widths_.size(); ++i) {
    const Evaluation part = objectives_[i]->evaluate(u.narrow(1, 0, widths_[i]).contiguous(), batch);
    gradient_.narrow(1, 0, widths_[i]).add_(part.gradient, share);
    full.loss += share * part.loss;
  }
  full.gradient = gradient_;
  return full;
}

// The gradients that an objective sets for its own parameters are those of its own loss, not of the mean: a constant
// factor, which Adam's steps do not depend on.
std::vector<Parameter> PrefixLoss::parameters() {
  std::vector<Parameter> all;
  for (const auto& objective : objectives_)
    for (const Parameter& p : objective->parameters()) all.push_back(p);
  return all;
}

}  // namespace simskip::learn
