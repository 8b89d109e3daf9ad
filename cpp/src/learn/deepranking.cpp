// Objective "deepranking": in every triplet, the anchor is nearer to a more relevant row than to a less relevant one.
// Needs labels.
//
//   L = mean max(0, margin + D_ap - D_an) over n of other classes
//     + in_class * mean max(0, in_margin + D_ap - D_aq) over q of the anchor's class whose inputs are less similar
//     + quantization * mean (u - sign u)^2
//   D_ij = |u_i / |u_i| - u_j / |u_j||^2, between 0 and 4; p is of the anchor's class
//
// Similarity of inputs is their inner product (cosine for unit rows). All triplets of the batch count; the mean is over
// those of an anchor, then over anchors. The three kinds of rows are the paper's, where relevance within a class came
// from hand-made features.
//
// Defaults: margin 1, in_class 0.1 with in_margin 0.1, quantization 0.1.
//
// Source: Wang et al., Learning fine-grained image similarity with deep ranking, CVPR 2014; on codes: Zhao et al., Deep
// semantic ranking based hashing for multi-label image retrieval, CVPR 2015.
#include <ATen/Parallel.h>

#include <vector>

#include "class_targets.hpp"
#include "objective.hpp"
#include "quantization.hpp"

namespace simskip::learn {
namespace {

struct Hinges {
  double sum = 0.0;
  std::int64_t count = 0;
};

class DeepRanking : public Objective {
 public:
  explicit DeepRanking(const Options& options)
      : margin_(static_cast<float>(options.at("margin"))),
        in_margin_(static_cast<float>(options.at("in_margin"))),
        in_class_(options.at("in_class")),
        quantization_(options.at("quantization")) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const std::int64_t n = u.size(0);
    const at::Tensor length = u.norm(2, 1, true).clamp_min_(1e-6);
    const at::Tensor direction = u / length;
    // D = 2 - 2 cosine: the hinges are written with cosines.
    const at::Tensor cosine = at::mm(direction, direction.t());
    at::Tensor relevance = at::mm(batch.inputs, batch.inputs.t());
    if (batch.bias.defined()) relevance.add_(batch.bias);
    const at::Tensor shared = shares_class(batch);
    at::Tensor slope = at::zeros({n, n}, at::kFloat), in_slope = at::zeros({n, n}, at::kFloat);
    std::vector<Hinges> outer(static_cast<std::size_t>(n)), inner(static_cast<std::size_t>(n));
    at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<std::int64_t> same, other;
      for (std::int64_t a = begin; a < end; ++a) {
        const float* member = shared.data_ptr<float>() + a * n;
        const float* near = cosine.data_ptr<float>() + a * n;
        const float* relevant = relevance.data_ptr<float>() + a * n;
        float* gradient = slope.data_ptr<float>() + a * n;
        float* in_gradient = in_slope.data_ptr<float>() + a * n;
        same.clear();
        other.clear();
        for (std::int64_t j = 0; j < n; ++j)
          if (j != a) (member[j] != 0.0f ? same : other).push_back(j);
        Hinges& out = outer[static_cast<std::size_t>(a)];
        Hinges& in = inner[static_cast<std::size_t>(a)];
        for (const std::int64_t p : same) {
          for (const std::int64_t q : other) count(near, p, q, margin_, out, gradient);
          for (const std::int64_t q : same)
            if (relevant[q] < relevant[p]) count(near, p, q, in_margin_, in, in_gradient);
        }
      }
    });
    const double between = mean_over_anchors(outer, slope), within = mean_over_anchors(inner, in_slope);
    slope.add_(in_slope, in_class_);
    Evaluation result;
    const at::Tensor pull = at::mm(slope, direction).addmm_(slope.t(), direction);
    const at::Tensor along = (pull * direction).sum(1, true);
    result.gradient = pull.sub(direction.mul(along)).div_(length);
    const double quantization = add_square_gap(u, quantization_, result.gradient);
    result.loss = between + in_class_ * within + quantization_ * quantization;
    result.parts = {{"between", between}, {"within", within}, {"quantization", quantization}};
    return result;
  }

 private:
  static void count(const float* near, std::int64_t p, std::int64_t q, float margin, Hinges& hinges, float* gradient) {
    ++hinges.count;
    const float hinge = margin + 2.0f * (near[q] - near[p]);
    if (hinge <= 0.0f) return;
    hinges.sum += hinge;
    gradient[q] += 2.0f;
    gradient[p] -= 2.0f;
  }

  // Divides each anchor's row by its number of triplets and by the number of anchors that have any.
  static double mean_over_anchors(const std::vector<Hinges>& hinges, at::Tensor& slope) {
    std::int64_t anchors = 0;
    for (const Hinges& h : hinges) anchors += h.count > 0;
    double sum = 0.0;
    float* row = slope.data_ptr<float>();
    const std::int64_t n = slope.size(1);
    for (const Hinges& h : hinges) {
      if (h.count > 0) {
        const double share = 1.0 / (static_cast<double>(h.count) * static_cast<double>(anchors));
        sum += h.sum * share;
        for (std::int64_t j = 0; j < n; ++j) row[j] *= static_cast<float>(share);
      }
      row += n;
    }
    return sum;
  }

  float margin_, in_margin_;
  double in_class_, quantization_;
};

}  // namespace

const ObjectiveEntry& deepranking_objective() {
  static const ObjectiveEntry entry{
      {"deepranking",
       "mean max(0, margin + D_ap - D_an) + in_class mean max(0, in_margin + D_ap - D_aq) + quantization mean (u - "
       "sign "
       "u)^2, D squared distances of normalised outputs, q less similar to a than p is",
       "Wang et al., Learning fine-grained image similarity with deep ranking (CVPR 2014)",
       Supervision::targets,
       Batches::classes,
       1,
       {{"margin", 1.0}, {"in_class", 0.1}, {"in_margin", 0.1}, {"quantization", 0.1}}},
      [](const Options& options, const ObjectiveContext&) -> std::unique_ptr<Objective> {
        return std::make_unique<DeepRanking>(options);
      }};
  return entry;
}

}  // namespace simskip::learn
