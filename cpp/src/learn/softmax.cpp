// Objective "softmax": the outputs are the logits of the classes themselves. Makes no codes: it trains the classifiers
// that "distilled" learns from. Needs labels, one output per class, and no activation after the last layer.
//
//   L = CE(u, class); rows with several classes: a sigmoid and a binary cross-entropy for each class
//
// Source: Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990.
#include <stdexcept>

#include "buffer.hpp"
#include "class_loss.hpp"
#include "objective.hpp"

namespace simskip::learn {
namespace {

class Softmax : public Objective {
 public:
  explicit Softmax(const ObjectiveContext& context) {
    if (context.n_bits != context.n_classes)
      throw std::invalid_argument("objective softmax needs n_bits = " + std::to_string(context.n_classes) +
                                  ", one output per class; got " + std::to_string(context.n_bits));
  }

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    take_shape(gradient_, u.sizes());
    gradient_.copy_(u);
    Evaluation result;
    result.loss = class_cross_entropy(gradient_, batch);
    result.gradient = gradient_;
    result.parts = {{"classes", result.loss}};
    return result;
  }

 private:
  at::Tensor gradient_;
};

}  // namespace

const ObjectiveEntry& softmax_objective() {
  static const ObjectiveEntry entry{
      {"softmax",
       "CE(u, class)",
       "Bridle, Probabilistic interpretation of feedforward classification network outputs (1990)",
       Supervision::targets,
       Batches::pass,
       1,
       {}},
      [](const Options&, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<Softmax>(context);
      }};
  return entry;
}

}  // namespace simskip::learn
