#include "multi_index_spread.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>

namespace simskip {
namespace {

constexpr std::size_t sample = 2048;  // squared correlations of independent bits are then about 1 / 2048

using Matrix = std::array<std::array<double, 64>, 64>;

// Squared correlations of a word's bits in some evenly spread rows. A constant bit counts as one that says the same
// as any other.
Matrix squared_correlations(const CodeBlocks& codes, std::uint32_t word) {
  const std::size_t n = std::min(sample, codes.size());
  constexpr std::size_t columns = sample / 64;
  std::array<std::array<std::uint64_t, columns>, 64> rows_with{};  // for each bit, a bit per row
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = codes.size() * i / n;
    const std::uint64_t bits = codes.at(row, word);
    for (std::size_t b = 0; b < 64; ++b) rows_with[b][i / 64] |= (bits >> b & 1) << (i % 64);
  }
  const auto both = [&](std::size_t a, std::size_t b) {
    int count = 0;
    for (std::size_t c = 0; c < columns; ++c) count += std::popcount(rows_with[a][c] & rows_with[b][c]);
    return static_cast<double>(count);
  };
  std::array<double, 64> ones{};
  for (std::size_t b = 0; b < 64; ++b) ones[b] = both(b, b);
  const auto rows = static_cast<double>(n);
  Matrix result{};
  for (std::size_t a = 0; a < 64; ++a)
    for (std::size_t b = 0; b < a; ++b) {
      const double variances = ones[a] * (rows - ones[a]) * ones[b] * (rows - ones[b]);
      const double covariance = rows * both(a, b) - ones[a] * ones[b];
      result[a][b] = result[b][a] = variances > 0 ? covariance * covariance / variances : 1;
    }
  return result;
}

double dependence(const Matrix& correlations, std::uint64_t mask, int bit) {
  double sum = 0;
  for (; mask; mask &= mask - 1) sum += correlations[static_cast<std::size_t>(bit)][std::countr_zero(mask)];
  return sum;
}

double dependence(const Matrix& correlations, const std::vector<std::uint64_t>& masks) {
  double sum = 0;
  for (const std::uint64_t mask : masks)
    for (std::uint64_t rest = mask; rest; rest &= rest - 1)
      sum += dependence(correlations, mask & (rest ^ (rest - 1)) >> 1, std::countr_zero(rest));
  return sum;
}

// The most dependent bits first, each where it depends least on those that are there.
std::vector<std::uint64_t> greedy(const Matrix& correlations, const std::vector<std::uint64_t>& masks, int word_bits) {
  const std::uint64_t all = ~std::uint64_t{0} >> (64 - word_bits);
  std::vector<int> order(static_cast<std::size_t>(word_bits));
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> total;
  for (const int bit : order) total.push_back(dependence(correlations, all, bit));
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return total[a] > total[b]; });
  int places = 0;
  for (const std::uint64_t mask : masks) places += std::popcount(mask);
  order.erase(order.begin(), order.end() - places);
  std::vector<std::uint64_t> result(masks.size(), 0);
  for (const int bit : order) {
    std::size_t best = masks.size();
    double least = 0;
    for (std::size_t m = 0; m < masks.size(); ++m) {
      if (std::popcount(result[m]) == std::popcount(masks[m])) continue;
      const double here = dependence(correlations, result[m], bit);
      if (best == masks.size() || here < least) {
        best = m;
        least = here;
      }
    }
    result[best] |= std::uint64_t{1} << bit;
  }
  return result;
}

}  // namespace

std::vector<Substring> spread(std::vector<Substring> substrings, const CodeBlocks& codes) {
  // Two bits that always agree count 1 and cost a table one bit of its width.
  constexpr double worth_per_substring = 0.5;
  if (codes.size() == 0) return substrings;
  for (std::size_t first = 0, last; first < substrings.size(); first = last) {
    std::vector<std::uint64_t> masks;
    const std::uint32_t word = substrings[first].word();
    for (last = first; last < substrings.size() && substrings[last].word() == word; ++last)
      masks.push_back(substrings[last].group().mask);
    const Matrix correlations = squared_correlations(codes, word);
    const int word_bits = std::min(64, codes.n_bits() - 64 * static_cast<int>(word));
    const std::vector<std::uint64_t> better = greedy(correlations, masks, word_bits);
    const double gain = dependence(correlations, masks) - dependence(correlations, better);
    if (gain < worth_per_substring * static_cast<double>(masks.size())) continue;
    for (std::size_t m = 0; m < better.size(); ++m) substrings[first + m] = Substring(word, better[m]);
  }
  return substrings;
}

}  // namespace simskip
