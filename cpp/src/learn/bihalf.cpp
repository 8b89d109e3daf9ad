// Objective "bihalf": each bit is 1 for one half of a batch, so that it carries most information, and the codes keep
// the rows' cosines. No labels.
//
//   L = mean over pairs of (h_i.h_j / b - cos(z_i, z_j))^2 + pull / 2 * mean (u - h)^2
//   h_ik = +1 for the half of the rows i with the largest u_ik, -1 for the other
//
// h is the solution of the optimal transport of the outputs of one bit to as many +1 as -1. The gradient with respect
// to h is passed to u straight through; that of the second term is the paper's gamma (u - h).
//
// Differences to the paper: all pairs of the batch instead of random ones, and cosines about the batch's mean (option
// centre = 0: about 0). Half-half codes have inner products of mean 0, features after a ReLU all have large cosines.
//
// Defaults: pull 0.2 (the paper's code has 6: there bits freeze before they have learned anything), centre 1. Option
// half = 0 leaves the outputs as they are, h = u, which makes the loss smooth.
//
// Source: Li & van Gemert, Deep unsupervised image hashing by maximizing bit entropy, AAAI 2021.
#include <algorithm>
#include <numeric>
#include <vector>

#include "objective.hpp"
#include "straight_through.hpp"

namespace simskip::learn {
namespace {

// Fills `code` with +1 for the larger half of each column of u (of an odd number of rows: the half rounded down), -1
// for the rest. Equal outputs go by row number.
void halve_columns(at::Tensor& code, const at::Tensor& u) {
  take_shape(code, u.sizes());
  code.fill_(-1.0f);
  const std::int64_t n = u.size(0), n_bits = u.size(1);
  const at::Tensor columns = u.t().contiguous();
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  float* const bits = code.data_ptr<float>();
  for (std::int64_t k = 0; k < n_bits; ++k) {
    const float* column = columns.data_ptr<float>() + k * n;
    std::iota(order.begin(), order.end(), 0);
    std::nth_element(order.begin(), order.begin() + n / 2, order.end(), [column](std::int64_t a, std::int64_t b) {
      return column[a] != column[b] ? column[a] > column[b] : a < b;
    });
    for (std::int64_t i = 0; i < n / 2; ++i) bits[order[static_cast<std::size_t>(i)] * n_bits + k] = 1.0f;
  }
}

class BiHalf : public Objective {
 public:
  explicit BiHalf(const Options& options)
      : pull_(options.at("pull")), half_(options.at("half") != 0), centre_(options.at("centre") != 0) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const auto n = static_cast<double>(u.size(0)), n_bits = static_cast<double>(u.size(1));
    if (half_)
      halve_columns(code_, u);
    else
      straight_through(code_, u, 0.0);
    at::Tensor z = centre_ ? batch.inputs - batch.inputs.mean(0) : batch.inputs.clone();
    z.div_(z.norm(2, 1, true).clamp_min_(1e-12));
    take_square(slope_, u.size(0));
    take_square(cosine_, u.size(0));
    at::mm_out(slope_, code_, code_.t());
    at::mm_out(cosine_, z, z.t());
    slope_.div_(n_bits).sub_(cosine_).fill_diagonal_(0.0);
    const double pairs = n * (n - 1.0);
    const double similarity = at::dot(slope_.view(-1), slope_.view(-1)).item<double>() / pairs;
    Evaluation result;
    // Twice for the square, twice for the two rows of a pair.
    result.gradient = at::mm(slope_, code_).mul_(4.0 / (pairs * n_bits));
    const at::Tensor gap = u - code_;
    result.gradient.add_(gap, pull_ / static_cast<double>(u.numel()));
    const double distance = gap.square().mean().item<double>();
    result.loss = similarity + 0.5 * pull_ * distance;
    result.parts = {{"similarity", similarity}, {"distance", distance}};
    return result;
  }

 private:
  static void take_square(at::Tensor& buffer, std::int64_t n) {
    if (!buffer.defined() || buffer.size(0) != n) buffer = at::empty({n, n}, at::kFloat);
  }

  double pull_;
  bool half_, centre_;
  at::Tensor code_, slope_, cosine_;
};

}  // namespace

const ObjectiveEntry& bihalf_objective() {
  static const ObjectiveEntry entry{
      {"bihalf",
       "mean (h_i.h_j / b - cos(z_i, z_j))^2 + pull / 2 mean (u - h)^2, h = +1 for the larger half of each bit, else "
       "-1",
       "Li & van Gemert, Deep unsupervised image hashing by maximizing bit entropy (AAAI 2021)",
       Supervision::none,
       Batches::pass,
       1,
       {{"pull", 0.2}, {"half", 1.0}, {"centre", 1.0}}},
      [](const Options& options, const ObjectiveContext&) -> std::unique_ptr<Objective> {
        return std::make_unique<BiHalf>(options);
      }};
  return entry;
}

}  // namespace simskip::learn
