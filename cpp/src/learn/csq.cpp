// Objective "csq": every class has a centre among the codes, and the outputs are drawn to it. Needs labels.
//
//   L = mean_ik BCE((1 + u_ik) / 2, (1 + centre_ik) / 2) + quantization * mean_ik (|u_ik| - 1)^2
//
// Centres: rows of the Hadamard matrix and their negatives where the bit count is a power of two and there are at
// most 2 b classes (all pairs then lie b/2 or b apart); else random codes chosen one after the other, each the
// farthest of many candidates from those before it.
//
// A row with several classes has the bitwise majority of their centres.
//
// Source: Yuan et al., Central similarity quantization for efficient image and video retrieval, CVPR 2020.
#include <algorithm>
#include <bit>
#include <random>

#include "objective.hpp"

namespace simskip::learn {
namespace {

constexpr int candidates_per_centre = 200;
// Outputs nearer than this to the wrong corner get no larger gradient: tanh rounds to 1 there.
constexpr double margin = 1e-4;

at::Tensor hadamard_centres(std::int64_t n_classes, std::int64_t n_bits) {
  at::Tensor centres = at::empty({n_classes, n_bits}, at::kFloat);
  float* values = centres.data_ptr<float>();
  for (std::int64_t c = 0; c < n_classes; ++c) {
    // Row r of the Hadamard matrix: the sign is the parity of r & k. The first row is constant and comes last.
    const auto row = static_cast<std::uint64_t>((c + 1) % n_bits);
    const float sign = c < n_bits ? 1.0f : -1.0f;
    for (std::int64_t k = 0; k < n_bits; ++k)
      values[c * n_bits + k] = std::popcount(row & static_cast<std::uint64_t>(k)) % 2 ? -sign : sign;
  }
  return centres;
}

at::Tensor spread_centres(std::int64_t n_classes, std::int64_t n_bits, std::uint64_t seed) {
  at::Tensor centres = at::empty({n_classes, n_bits}, at::kFloat);
  float* values = centres.data_ptr<float>();
  std::mt19937_64 engine(seed);
  std::vector<float> candidate(static_cast<std::size_t>(n_bits));
  for (std::int64_t c = 0; c < n_classes; ++c) {
    std::int64_t best = -1;
    for (int attempt = 0; attempt < candidates_per_centre; ++attempt) {
      for (float& bit : candidate) bit = engine() >> 63 ? 1.0f : -1.0f;
      std::int64_t nearest = n_bits;
      for (std::int64_t other = 0; other < c; ++other) {
        std::int64_t distance = 0;
        for (std::int64_t k = 0; k < n_bits; ++k)
          distance += values[other * n_bits + k] != candidate[static_cast<std::size_t>(k)];
        nearest = std::min(nearest, distance);
      }
      if (nearest > best) {
        best = nearest;
        std::copy(candidate.begin(), candidate.end(), values + c * n_bits);
      }
    }
  }
  return centres;
}

class Csq : public Objective {
 public:
  Csq(const Options& options, const ObjectiveContext& context) : quantization_(options.at("quantization")) {
    const std::int64_t width = context.code_bits;
    const bool hadamard =
        std::has_single_bit(static_cast<std::uint64_t>(width)) && width > 1 && context.n_classes <= 2 * width;
    const at::Tensor centres =
        hadamard ? hadamard_centres(context.n_classes, width) : spread_centres(context.n_classes, width, context.seed);
    centres_ = centres.narrow(1, 0, context.n_bits).contiguous();
  }

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const auto count = static_cast<double>(u.numel());
    const at::Tensor centre = centre_of(batch);
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
  // Of rows with several classes: the majority of their centres, bit by bit; the first class decides a draw.
  at::Tensor centre_of(const Batch& batch) const {
    if (!batch.targets.defined()) return centres_.index_select(0, batch.labels);
    const at::Tensor votes = at::mm(batch.targets, centres_);
    const at::Tensor first = centres_.index_select(0, batch.targets.argmax(1));
    return at::where(votes.eq(0), first, votes.sign());
  }

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
