// Objective "dtsh": in every triplet the anchor is nearer to a row of its class than to one of another. Needs labels.
//
//   L = - mean over triplets (a, p, n) of log sigma(theta_ap - theta_an - alpha) + quantization * mean (u - sign u)^2
//   theta_ij = u_i.u_j / 2
//
// over all valid triplets of the batch; every anchor counts the same, whatever its number of triplets.
//
// Source: Wang, Shi & Kitani, Deep supervised hashing with triplet labels, ACCV 2016.
#include <ATen/Parallel.h>

#include <cmath>

#include "class_targets.hpp"
#include "objective.hpp"
#include "quantization.hpp"

namespace simskip::learn {
namespace {

class Dtsh : public Objective {
 public:
  explicit Dtsh(const Options& options) : alpha_(options.at("alpha")), quantization_(options.at("quantization")) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const std::int64_t n = u.size(0);
    const at::Tensor theta = at::mm(u, u.t()).mul_(0.5);
    at::Tensor slope = at::zeros({n, n}, at::kFloat);
    std::vector<double> losses(static_cast<std::size_t>(n), -1.0);
    const float* similarity = theta.data_ptr<float>();
    const at::Tensor shared = shares_class(batch);
    const float* same = shared.data_ptr<float>();
    float* gradient = slope.data_ptr<float>();
    at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<std::int64_t> negatives;
      for (std::int64_t a = begin; a < end; ++a) {
        const float* row = similarity + a * n;
        float* row_gradient = gradient + a * n;
        negatives.clear();
        for (std::int64_t j = 0; j < n; ++j)
          if (same[a * n + j] == 0.0f) negatives.push_back(j);
        std::int64_t positives = 0;
        for (std::int64_t p = 0; p < n; ++p) positives += p != a && same[a * n + p] != 0.0f;
        if (positives == 0 || negatives.empty()) continue;
        const double weight = 1.0 / static_cast<double>(positives * static_cast<std::int64_t>(negatives.size()));
        double sum = 0.0;
        for (std::int64_t p = 0; p < n; ++p) {
          if (p == a || same[a * n + p] == 0.0f) continue;
          double pull = 0.0;
          for (const std::int64_t j : negatives) {
            const float x = row[p] - row[j] - static_cast<float>(alpha_);
            // -log sigma(x) and its slope -sigma(-x), from one exponential that cannot overflow.
            const float e = std::exp(-std::abs(x));
            sum += std::log1p(e) + (x < 0 ? -x : 0.0f);
            const float miss = (x < 0 ? 1.0f : e) / (1.0f + e);
            row_gradient[j] += miss * static_cast<float>(weight);
            pull += miss;
          }
          row_gradient[p] -= static_cast<float>(pull * weight);
        }
        losses[static_cast<std::size_t>(a)] = sum * weight;
      }
    });
    double triplets = 0.0;
    std::int64_t anchors = 0;
    for (const double loss : losses) {
      if (loss < 0) continue;
      triplets += loss;
      ++anchors;
    }
    if (anchors) {
      triplets /= static_cast<double>(anchors);
      slope.div_(static_cast<double>(anchors));
    }
    Evaluation result;
    // theta is symmetric in its two rows: the slope acts on both.
    result.gradient = at::mm(slope, u).addmm_(slope.t(), u).mul_(0.5);
    const double quantization = add_square_gap(u, quantization_, result.gradient);
    result.loss = triplets + quantization_ * quantization;
    result.parts = {{"triplets", triplets}, {"quantization", quantization}};
    return result;
  }

 private:
  double alpha_, quantization_;
};

}  // namespace

const ObjectiveEntry& dtsh_objective() {
  static const ObjectiveEntry entry{
      {"dtsh",
       "-mean log sigma(theta_ap - theta_an - alpha) + quantization mean (u - sign u)^2, theta_ij = u_i.u_j / 2",
       "Wang, Shi & Kitani, Deep supervised hashing with triplet labels (ACCV 2016)",
       Supervision::targets,
       Batches::classes,
       1,
       {{"alpha", 5.0}, {"quantization", 0.1}}},
      [](const Options& options, const ObjectiveContext&) -> std::unique_ptr<Objective> {
        return std::make_unique<Dtsh>(options);
      }};
  return entry;
}

}  // namespace simskip::learn
