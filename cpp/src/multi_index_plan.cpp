#include "multi_index_plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <queue>

#include "simskip/codes.hpp"

namespace simskip {
namespace {

// Measured on a Zen 4 at 1 M and 10 M codes; what matters are the ratios.
constexpr double ns_per_bucket = 9;            // its place in the table and its first cache line, both prefetched
constexpr double ns_per_code = 0.3;            // one more code of a bucket
constexpr double ns_per_row = 7;               // longer codes: a cache line of their own ...
constexpr double ns_per_row_word = 1;          // ... and what is left of the other words after the first one's test
constexpr double ns_per_scanned_word = 0.045;  // in a batch
constexpr double ns_per_lone_scanned_word = 0.2;
constexpr double ns_per_built_entry = 45;
constexpr std::size_t batch = 16;  // queries from which a scan is a batch (many_queries of top_k.cpp)

double choose(int n, int k) {
  double result = 1;
  for (int i = 1; i <= k; ++i) result *= static_cast<double>(n - k + i) / i;
  return result;
}

}  // namespace

// Each step moves the bits that have a 1 in that step's digit of the number of zeros below them (Warren, Hacker's
// Delight, 7-4, "compress").
Substring::Substring(std::uint32_t word, std::uint64_t mask)
    : group_{mask, word}, bits_(std::popcount(mask)), shift_(mask ? std::countr_zero(mask) : 0) {
  contiguous_ = mask == 0 || (mask >> shift_ & ((mask >> shift_) + 1)) == 0;
  std::array<std::uint64_t, 6> moves{};
  int zeros = 0;
  for (int bit = 0; bit < 64; ++bit) {
    if (!(mask >> bit & 1)) {
      ++zeros;
      continue;
    }
    int place = bit;
    for (int step = 0; step < 6; ++step) {
      if (!(zeros >> step & 1)) continue;
      moves[step] |= std::uint64_t{1} << place;
      place -= 1 << step;
    }
  }
  moves_ = moves;
}

std::vector<Substring> cut_into_substrings(int n_bits, std::size_t n) {
  const double wanted = std::clamp(std::log2(static_cast<double>(n) + 1), 4.0, 30.0);
  std::vector<Substring> substrings;
  for (std::uint32_t w = 0; w < words_per_code(n_bits); ++w) {
    const int bits = std::min(64, n_bits - 64 * static_cast<int>(w));
    const int parts = static_cast<int>(std::ceil(bits / wanted));
    for (int part = 0; part < parts; ++part) {
      const int first = bits * part / parts, last = bits * (part + 1) / parts;
      const std::uint64_t ones = ~std::uint64_t{0} >> (64 - (last - first));
      substrings.emplace_back(w, ones << first);
    }
  }
  return substrings;
}

Schedule::Schedule(const std::vector<Substring>& substrings, std::size_t n, std::size_t words) {
  const auto unit = [&](std::uint32_t table, int weight) {
    const int bits = substrings[table].bits();
    const double buckets = choose(bits, weight);
    return Unit{table, weight, static_cast<std::size_t>(buckets + 0.5),
                probe_cost(buckets, buckets * static_cast<double>(n) * std::pow(0.5, bits), words)};
  };
  const auto dearer = [](const Unit& a, const Unit& b) {
    return a.cost != b.cost ? a.cost > b.cost : a.weight != b.weight ? a.weight > b.weight : a.table > b.table;
  };
  std::priority_queue<Unit, std::vector<Unit>, decltype(dearer)> next(dearer);
  for (std::uint32_t table = 0; table < substrings.size(); ++table) next.push(unit(table, 0));
  before_.push_back(0);
  while (!next.empty()) {
    const Unit u = next.top();
    next.pop();
    units_.push_back(u);
    before_.push_back(before_.back() + u.cost);
    if (u.weight == substrings[u.table].bits()) break;  // a table that was looked at whole has shown all codes
    next.push(unit(u.table, u.weight + 1));
  }
}

double probe_cost(double buckets, double codes, std::size_t words) {
  const double per_code = words == 1 ? ns_per_code : ns_per_row + ns_per_row_word * static_cast<double>(words);
  return buckets * ns_per_bucket + codes * per_code;
}

double scan_cost(std::size_t n, std::size_t words, std::size_t n_queries) {
  const double per_word = n_queries >= batch ? ns_per_scanned_word : ns_per_lone_scanned_word;
  return static_cast<double>(n) * static_cast<double>(words) * per_word;
}

double build_cost(std::size_t n, std::size_t, std::size_t n_substrings) {
  return static_cast<double>(n) * static_cast<double>(n_substrings) * ns_per_built_entry;
}

int uniform_distance(std::size_t n, int n_bits, std::size_t k) {
  // Logarithms: 2^-4096 is no double.
  double log_term = -n_bits * std::log(2.0), within = 0;
  const double wanted = static_cast<double>(k) / std::max<double>(1, static_cast<double>(n));
  for (int d = 0; d <= n_bits; ++d) {
    within += std::exp(log_term);
    if (within >= wanted) return d;
    log_term += std::log(static_cast<double>(n_bits - d)) - std::log(static_cast<double>(d + 1));
  }
  return n_bits;
}

}  // namespace simskip
