#include "class_targets.hpp"

namespace simskip::learn {

at::Tensor class_targets(const Batch& batch, std::int64_t n_classes) {
  if (batch.targets.defined()) return batch.targets;
  return at::zeros({batch.labels.size(0), n_classes}, at::kFloat).scatter_(1, batch.labels.unsqueeze(1), 1.0);
}

at::Tensor shares_class(const Batch& batch) {
  if (!batch.targets.defined()) return batch.labels.unsqueeze(1).eq(batch.labels).to(at::kFloat);
  const at::Tensor member = batch.targets.ge(0.5).to(at::kFloat);
  return at::mm(member, member.t()).clamp_max_(1.0);
}

}  // namespace simskip::learn
