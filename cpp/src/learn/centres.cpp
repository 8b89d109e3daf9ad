#include "centres.hpp"

#include <algorithm>
#include <bit>
#include <random>
#include <vector>

namespace simskip::learn {
namespace {

constexpr int candidates_per_centre = 200;

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

}  // namespace

at::Tensor class_centres(const ObjectiveContext& context) {
  const std::int64_t width = context.code_bits, n_classes = context.n_classes;
  const bool hadamard = std::has_single_bit(static_cast<std::uint64_t>(width)) && width > 1 && n_classes <= 2 * width;
  const at::Tensor centres =
      hadamard ? hadamard_centres(n_classes, width) : spread_centres(n_classes, width, context.seed);
  return centres.narrow(1, 0, context.n_bits).contiguous();
}

at::Tensor centres_of(const Batch& batch, const at::Tensor& centres) {
  if (!batch.targets.defined()) return centres.index_select(0, batch.labels);
  const at::Tensor votes = at::mm(batch.targets, centres);
  const at::Tensor first = centres.index_select(0, batch.targets.argmax(1));
  return at::where(votes.eq(0), first, votes.sign());
}

}  // namespace simskip::learn
