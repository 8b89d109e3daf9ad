// Objective "greedyhash": a linear classifier reads the bits themselves, and its gradient passes the sign as if it
// were not there. Needs labels.
//
//   L = CE(W sign(u) + c, class) + quantization * mean |u - sign u|^3
//
// W and c are learned. Rows with several classes: a sigmoid and a binary cross-entropy for each class.
//
// Defaults: quantization 0.1, the paper's.
//
// Source: Su et al., Greedy hash: towards fast optimization for accurate hash coding in CNN, NeurIPS 2018.
#include "class_loss.hpp"
#include "linear_head.hpp"
#include "objective.hpp"
#include "quantization.hpp"
#include "straight_through.hpp"

namespace simskip::learn {
namespace {

class GreedyHash : public Objective {
 public:
  GreedyHash(const Options& options, const ObjectiveContext& context)
      : quantization_(options.at("quantization")),
        head_(context.n_bits, context.n_classes, 1.0, options.at("head_rate"), context.seed) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    straight_through(code_, u, 1.0);
    at::Tensor& logits = head_.forward(code_);
    const double classes = class_cross_entropy(logits, batch);
    Evaluation result;
    result.gradient = head_.backward(logits);
    const double quantization = add_cubic_gap(u, quantization_, result.gradient);
    result.loss = classes + quantization_ * quantization;
    result.parts = {{"classes", classes}, {"quantization", quantization}};
    return result;
  }

  std::vector<Parameter> parameters() override { return head_.parameters(); }

 private:
  double quantization_;
  LinearHead head_;
  at::Tensor code_;
};

}  // namespace

const ObjectiveEntry& greedyhash_objective() {
  static const ObjectiveEntry entry{
      {"greedyhash",
       "CE(W sign(u) + c, class) + quantization mean |u - sign u|^3, W and c learned",
       "Su et al., Greedy hash: towards fast optimization for accurate hash coding in CNN (NeurIPS 2018)",
       Supervision::targets,
       Batches::pass,
       1,
       {{"quantization", 0.1}, {"head_rate", 1.0}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<GreedyHash>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
