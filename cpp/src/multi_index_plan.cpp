#include "multi_index_plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <queue>

#include "database_pass.hpp"
#include "simskip/codes.hpp"
#include "simskip/top_k.hpp"

namespace simskip {
namespace {

// Measured at 0.1 to 10 M codes on one thread with AVX-512; narrower registers make probing and scanning dearer alike.
constexpr double ns_per_query = 4500;          // to start, to sort what was found, to miss the first cache lines
constexpr double ns_per_bucket = 10;           // its place in the table and its first cache line, both asked for ahead
constexpr double ns_per_code = 0.45;           // of one word, in its bucket
constexpr double ns_per_row_word = 5;          // of longer codes: each word is a cache line of its own
constexpr double ns_per_scanned_word = 0.023;  // in a batch
constexpr double ns_per_lone_scanned_word = 0.15;
constexpr double ns_per_built_entry = 45;

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

std::vector<Substring> cut_into_substrings(int n_bits, std::size_t n, int parts) {
  const int most = std::min(static_cast<int>(std::log2(static_cast<double>(std::max<std::size_t>(n, 16)))) + 1, 30);
  std::vector<Substring> substrings;
  for (std::uint32_t w = 0; w < words_per_code(n_bits); ++w) {
    const int bits = std::min(64, n_bits - 64 * static_cast<int>(w));
    const int here = std::max(1, (bits * parts + 63) / 64);  // a last word of few bits has as many as it has room for
    for (int part = 0; part < here; ++part) {
      const int first = bits * part / here, width = std::min(bits * (part + 1) / here - first, most);
      substrings.emplace_back(w, ~std::uint64_t{0} >> (64 - width) << first);
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
  const double per_code = words == 1 ? ns_per_code : ns_per_row_word * static_cast<double>(words);
  return buckets * ns_per_bucket + codes * per_code;
}

double scan_cost(std::size_t n, std::size_t words, std::size_t n_queries) {
  const double per_word = n_queries >= many_queries ? ns_per_scanned_word : ns_per_lone_scanned_word;
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

Plan best_plan(std::size_t n, int n_bits, const std::vector<int>& distances) {
  const std::size_t words = words_per_code(n_bits);
  const double scan = scan_cost(n, words, many_queries);
  // Shorter substrings than log2(n) / 2 have buckets of more than sqrt(n) codes; longer ones than log2(n) + 1 leave
  // bits out and gain nothing.
  const double log_n = std::log2(static_cast<double>(std::max<std::size_t>(n, 16)));
  const double bits = std::min(64, n_bits);
  const int fewest = std::max(1, static_cast<int>(std::floor(bits / (log_n + 2))));
  const int most = std::max(fewest, static_cast<int>(std::ceil(bits / (log_n / 2))));
  Plan best;
  for (int wanted = fewest; wanted <= most; ++wanted) {
    const int parts = std::min(64, (wanted * 64 + static_cast<int>(bits) - 1) / static_cast<int>(bits));
    std::vector<Substring> substrings = cut_into_substrings(n_bits, n, parts);
    const Schedule schedule(substrings, n, words);
    double cost = 0;
    for (const int distance : distances) {
      const std::size_t units = std::min(static_cast<std::size_t>(distance) + 1, schedule.size());
      const double probing = schedule.cost_before(units);
      cost += ns_per_query + std::min(probing, scan) + 1e-3 * probing;  // the last: who forces it gets the best, too
    }
    if (!distances.empty()) cost /= static_cast<double>(distances.size());
    if (best.substrings.empty() || cost < best.query_cost) best = {std::move(substrings), cost};
  }
  return best;
}

std::vector<int> sample_distances(const CodeBlocks& codes, std::size_t k, int threads, Interrupt* interrupt) {
  constexpr std::size_t wanted = 32;
  const std::size_t n = std::min(wanted, codes.size());
  const std::size_t n_bytes = bytes_per_code(codes.n_bits());
  std::vector<int> distances;
  if (codes.size() < 2) return distances;
  std::vector<std::uint8_t> queries(n * n_bytes);
  for (std::size_t i = 0; i < n; ++i) codes.read(codes.size() * i / n, &queries[i * n_bytes]);
  k = std::min(k + 1, codes.size());  // the row itself is the first
  SearchOptions options;
  options.threads = threads;
  options.interrupt = interrupt;
  const Neighbors found = top_k(codes, queries.data(), n, k, options);
  for (std::size_t i = 0; i < n; ++i) distances.push_back(found.distances[i * k + k - 1]);
  return distances;
}

}  // namespace simskip
