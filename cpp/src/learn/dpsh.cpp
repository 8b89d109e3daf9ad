// Objective "dpsh": the likelihood of which pairs of a batch share a class, given inner products. Needs labels.
//
//   L = mean over pairs of (log(1 + e^theta_ij) - similar_ij theta_ij) + quantization * mean (u - sign u)^2
//   theta_ij = scale u_i.u_j / b
//
// The paper's theta is u_i.u_j / 2, that is scale = b / 2, made for codes of 12 to 48 bits; there the first steps of
// long codes saturate.
//
// Defaults: scale 10, quantization 0.1.
//
// Source: Li, Wang & Kang, Feature learning based deep supervised hashing with pairwise labels, IJCAI 2016.
#include "class_targets.hpp"
#include "objective.hpp"
#include "pair_loss.hpp"
#include "quantization.hpp"

namespace simskip::learn {
namespace {

class Dpsh : public Objective {
 public:
  explicit Dpsh(const Options& options) : scale_(options.at("scale")), quantization_(options.at("quantization")) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const auto n = static_cast<double>(u.size(0));
    const double factor = scale_ / static_cast<double>(u.size(1));
    const double weight = 1.0 / (n * (n - 1.0));
    at::Tensor slope = at::mm(u, u.t()).mul_(factor);
    const double pairs = pair_cross_entropy(slope, shares_class(batch), weight, weight);
    Evaluation result;
    // The slope is symmetric: each of the two rows of a pair gets it, hence twice.
    result.gradient = at::mm(slope, u).mul_(2.0 * factor);
    const double quantization = add_square_gap(u, quantization_, result.gradient);
    result.loss = pairs + quantization_ * quantization;
    result.parts = {{"pairs", pairs}, {"quantization", quantization}};
    return result;
  }

 private:
  double scale_, quantization_;
};

}  // namespace

const ObjectiveEntry& dpsh_objective() {
  static const ObjectiveEntry entry{
      {"dpsh",
       "mean (log(1 + e^theta_ij) - similar_ij theta_ij) + quantization mean (u - sign u)^2, theta = scale u_i.u_j / b",
       "Li, Wang & Kang, Feature learning based deep supervised hashing with pairwise labels (IJCAI 2016)",
       Supervision::targets,
       Batches::pass,
       1,
       {{"scale", 10.0}, {"quantization", 0.1}}},
      [](const Options& options, const ObjectiveContext&) -> std::unique_ptr<Objective> {
        return std::make_unique<Dpsh>(options);
      }};
  return entry;
}

}  // namespace simskip::learn
