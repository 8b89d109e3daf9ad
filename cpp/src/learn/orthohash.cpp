// Objective "orthohash": of all classes, the outputs point to the centre of their own. Needs labels.
//
//   L = mean_i CE(softmax_c(scale (cos(u_i, centre_c) - margin [c is a class of i])), classes of i)
//
// Centres are fixed codes, see centres.hpp; the cosine to one of them already rewards outputs near the corners, so no
// quantisation term is needed. Several classes of a row share its probability evenly, as in the paper.
//
// Defaults: scale 10, margin 0 (the paper's margin of 0.2 to 0.5 and larger scales did worse over frozen features).
//
// Source: Hoe et al., One loss for all: deep hashing with a single cosine similarity based learning objective,
// NeurIPS 2021.
#include <cmath>

#include "centres.hpp"
#include "class_loss.hpp"
#include "class_targets.hpp"
#include "objective.hpp"

namespace simskip::learn {
namespace {

class OrthoHash : public Objective {
 public:
  OrthoHash(const Options& options, const ObjectiveContext& context)
      : scale_(options.at("scale")), margin_(options.at("margin")), centres_(class_centres(context)) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    // All centres have length sqrt(b).
    const double factor = scale_ / std::sqrt(static_cast<double>(u.size(1)));
    const at::Tensor length = u.norm(2, 1, true).clamp_min_(1e-6);
    const at::Tensor direction = u / length;
    at::Tensor logits = at::mm(direction, centres_.t()).mul_(factor);
    if (margin_ > 0) logits.sub_(class_targets(batch, centres_.size(0)).gt(0).to(at::kFloat), scale_ * margin_);
    Evaluation result;
    result.loss = shared_cross_entropy(logits, batch);
    // d direction / du takes away what points along the direction, and divides by the length.
    const at::Tensor pull = at::mm(logits, centres_).mul_(factor);
    const at::Tensor along = (pull * direction).sum(1, true);
    result.gradient = pull.sub_(direction.mul(along)).div_(length);
    result.parts = {{"attraction", result.loss}};
    return result;
  }

  at::Tensor centres() const override { return centres_; }

 private:
  double scale_, margin_;
  at::Tensor centres_;
};

}  // namespace

const ObjectiveEntry& orthohash_objective() {
  static const ObjectiveEntry entry{
      {"orthohash",
       "mean CE(softmax_c(scale (cos(u, centre_c) - margin [c = class])), class)",
       "Hoe et al., One loss for all: deep hashing with a single cosine similarity based learning objective "
       "(NeurIPS 2021)",
       Supervision::targets,
       Batches::pass,
       1,
       {{"scale", 10.0}, {"margin", 0.0}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<OrthoHash>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
