// Objective "distilled": inner products of codes tell how probable it is that two rows are of one class. Learns from
// targets: each row's class probabilities, for example those of classifiers that have not seen the row.
//
//   L = mean over pairs of BCE(sigma(a h_i.h_j / b + c), p_i.p_j),   h = u + share (sign(u) - u)
//
// p_i.p_j is the probability that two draws, one from each row's classes, agree. a and c are learned with their own
// learning rate; the sign is straight-through, its share goes linearly from ste_start to ste_end. With 0/1 targets or
// labels, p_i.p_j (at most 1) says whether two rows share a class.
//
// Defaults: a from 10, c from -2 (a tenth of the pairs agree), ste 0.5 to 1.
//
// Source: soft targets: Hinton, Vinyals & Dean, Distilling the knowledge in a neural network, 2015; here they are those
// of pairs.
#include "class_targets.hpp"
#include "objective.hpp"
#include "pair_loss.hpp"
#include "straight_through.hpp"

namespace simskip::learn {
namespace {

class Distilled : public Objective {
 public:
  Distilled(const Options& options, const ObjectiveContext& context)
      : ste_start_(options.at("ste_start")),
        ste_end_(options.at("ste_end")),
        rate_(options.at("scale_learning_rate") / context.learning_rate),
        n_classes_(context.n_classes),
        slope_and_offset_{static_cast<float>(options.at("scale")), static_cast<float>(-options.at("offset"))} {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const auto n = static_cast<double>(u.size(0)), n_bits = static_cast<double>(u.size(1));
    const double a = slope_and_offset_[0], c = slope_and_offset_[1];
    straight_through(code_, u, ste_start_ + (ste_end_ - ste_start_) * batch.progress);
    const at::Tensor p = class_targets(batch, n_classes_);
    const at::Tensor agreement = at::mm(p, p.t()).clamp_max_(1.0);
    const at::Tensor product = at::mm(code_, code_.t()).div_(n_bits);
    at::Tensor slope = product.mul(a).add_(c);
    const double weight = 1.0 / (n * (n - 1.0));
    Evaluation result;
    result.loss = pair_cross_entropy(slope, agreement, weight, weight);
    gradients_[0] = at::dot(slope.view(-1), product.view(-1)).item<float>();
    gradients_[1] = slope.sum().item<float>();
    // The slope is symmetric: each of the two rows of a pair gets it, hence twice.
    result.gradient = at::mm(slope, code_).mul_(2.0 * a / n_bits);
    result.parts = {{"pairs", result.loss}, {"scale", a}, {"offset", c}};
    return result;
  }

  std::vector<Parameter> parameters() override { return {{slope_and_offset_, gradients_, 2, rate_, false}}; }

 private:
  double ste_start_, ste_end_, rate_;
  std::int64_t n_classes_;
  float slope_and_offset_[2];
  float gradients_[2] = {0.0f, 0.0f};
  at::Tensor code_;
};

}  // namespace

const ObjectiveEntry& distilled_objective() {
  static const ObjectiveEntry entry{
      {"distilled",
       "mean BCE(sigma(a h_i.h_j / b + c), p_i.p_j), p class probabilities, h = u + ste (sign u - u), a and c learned",
       "after Hinton, Vinyals & Dean, Distilling the knowledge in a neural network (2015), for pairs",
       Supervision::targets,
       Batches::pass,
       1,
       {{"scale", 10.0}, {"offset", 2.0}, {"ste_start", 0.5}, {"ste_end", 1.0}, {"scale_learning_rate", 1e-2}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<Distilled>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
