// Objective "classifier": a linear classifier reads the outputs; codes are what a classifier has before its last layer.
// Needs labels.
//
//   L = CE(W h + c, class) + quantization * mean (u - sign u)^2,   h = u + ste (sign(u) - u)
//
// W and c are learned; the sign is straight-through. Rows with several classes: a sigmoid and a binary cross-entropy
// for each class.
//
// Defaults: ste 0 (a classifier on bits, ste 1, did worse), quantization 0.
//
// Source: Lin et al., Deep learning of binary hash codes for fast image retrieval, CVPR workshops 2015 (with sigmoid
// in place of tanh).
#include "class_loss.hpp"
#include "linear_head.hpp"
#include "objective.hpp"
#include "quantization.hpp"
#include "straight_through.hpp"

namespace simskip::learn {
namespace {

class Classifier : public Objective {
 public:
  Classifier(const Options& options, const ObjectiveContext& context)
      : ste_(options.at("ste")),
        quantization_(options.at("quantization")),
        head_(context.n_bits, context.n_classes, 1.0, options.at("head_rate"), context.seed) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    straight_through(code_, u, ste_);
    at::Tensor& logits = head_.forward(code_);
    const double classes = class_cross_entropy(logits, batch);
    Evaluation result;
    result.gradient = head_.backward(logits);
    const double quantization = add_square_gap(u, quantization_, result.gradient);
    result.loss = classes + quantization_ * quantization;
    result.parts = {{"classes", classes}, {"quantization", quantization}};
    return result;
  }

  std::vector<Parameter> parameters() override { return head_.parameters(); }

 private:
  double ste_, quantization_;
  LinearHead head_;
  at::Tensor code_;
};

}  // namespace

const ObjectiveEntry& classifier_objective() {
  static const ObjectiveEntry entry{
      {"classifier",
       "CE(W h + c, class) + quantization mean (u - sign u)^2, h = u + ste (sign u - u), W and c learned",
       "Lin et al., Deep learning of binary hash codes for fast image retrieval (CVPR workshops 2015)",
       Supervision::targets,
       Batches::pass,
       1,
       {{"ste", 0.0}, {"quantization", 0.0}, {"head_rate", 1.0}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<Classifier>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
