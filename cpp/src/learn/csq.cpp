// Objective "csq": every class has a centre among the codes, and the outputs are drawn to it. Needs labels.
//
//   L = mean_ik BCE((1 + u_ik) / 2, (1 + centre_ik) / 2) + quantization * mean_ik (|u_ik| - 1)^2
//
// Centres: see centres.hpp. A row with several classes has the bitwise majority of theirs.
//
// Source: Yuan et al., Central similarity quantization for efficient image and video retrieval, CVPR 2020.
#include "centres.hpp"
#include "objective.hpp"

namespace simskip::learn {
namespace {

// Outputs nearer than this to the wrong corner get no larger gradient: tanh rounds to 1 there.
constexpr double margin = 1e-4;

class Csq : public Objective {
 public:
  Csq(const Options& options, const ObjectiveContext& context)
      : quantization_(options.at("quantization")), centres_(class_centres(context)) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const auto count = static_cast<double>(u.numel());
    const at::Tensor centre = centres_of(batch, centres_);
    // p: the probability given to the centre's bit.
    const at::Tensor p = (u * centre).add_(1.0).mul_(0.5).clamp_(margin, 1.0);
    const double attraction = -p.log().mean().item<double>();
    const at::Tensor gap = u.abs().sub_(1.0);
    const double quantization = gap.square().mean().item<double>();
    Evaluation result;
    result.gradient = centre.div(p).mul_(-0.5 / count).add_(gap.mul(u.sign()), quantization_ * 2.0 / count);
    result.loss = attraction + quantization_ * quantization;
    result.parts = {{"attraction", attraction}, {"quantization", quantization}};
    return result;
  }

  at::Tensor centres() const override { return centres_; }

 private:
  double quantization_;
  at::Tensor centres_;
};

}  // namespace

const ObjectiveEntry& csq_objective() {
  static const ObjectiveEntry entry{
      {"csq",
       "mean BCE((1 + u) / 2, (1 + centre) / 2) + quantization mean (|u| - 1)^2",
       "Yuan et al., Central similarity quantization for efficient image and video retrieval (CVPR 2020)",
       Supervision::targets,
       Batches::pass,
       1,
       {{"quantization", 0.1}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<Csq>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
