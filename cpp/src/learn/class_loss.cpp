#include "class_loss.hpp"

#include "class_targets.hpp"

namespace simskip::learn {

double class_cross_entropy(at::Tensor& logits, const Batch& batch) {
  if (!batch.targets.defined()) return shared_cross_entropy(logits, batch);
  const auto rows = static_cast<double>(logits.size(0));
  const at::Tensor sizes = logits.abs().neg_().exp_().log1p_();
  const double loss = (sizes.sum() + (logits.clamp_min(0.0) - logits * batch.targets).sum()).item<double>() / rows;
  logits.sigmoid_().sub_(batch.targets).div_(rows);
  return loss;
}

double shared_cross_entropy(at::Tensor& logits, const Batch& batch) {
  const auto rows = static_cast<double>(logits.size(0));
  at::Tensor target = class_targets(batch, logits.size(1));
  if (batch.targets.defined()) target = target / target.sum(1, true).clamp_min_(1e-12);
  const at::Tensor log_model = at::log_softmax(logits, 1);
  const double loss = -(log_model * target).sum().item<double>() / rows;
  at::exp_out(logits, log_model);
  logits.mul_(target.sum(1, true)).sub_(target).div_(rows);
  return loss;
}

}  // namespace simskip::learn
