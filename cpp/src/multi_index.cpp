#include "simskip/multi_index.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <mutex>

#include "multi_index_probe.hpp"
#include "parallel.hpp"
#include "simskip/codes.hpp"
#include "simskip/threads.hpp"

namespace simskip {
namespace {

// What a query may spend, as a share of a scan, before it must look like the cheaper way.
constexpr double trial_share = 0.25;
// Queries of one piece of work: enough to keep several in flight, few enough to spread them over threads.
constexpr std::size_t min_piece = 8, max_piece = 256;

std::vector<std::uint64_t> to_words(const std::uint8_t* queries, std::size_t n_queries, int n_bits) {
  const std::size_t words = words_per_code(n_bits);
  std::vector<std::uint64_t> result(n_queries * words);
  for (std::size_t q = 0; q < n_queries; ++q)
    bytes_to_words(queries + q * bytes_per_code(n_bits), n_bits, &result[q * words]);
  return result;
}

// Probes for all queries; returns those that were left for a scan, ascending.
template <class Done>
std::vector<std::size_t> probe_all(const MultiIndex::State& index, const CodeBlocks& codes, const std::uint8_t* queries,
                                   std::size_t n_queries, const ProbeTask& task, int threads, SearchStats& stats,
                                   Done&& done) {
  const std::vector<std::uint64_t> words = to_words(queries, n_queries, codes.n_bits());
  const auto team = static_cast<std::size_t>(threads);
  const std::size_t piece = std::clamp((n_queries + team * 4 - 1) / (team * 4), min_piece, max_piece);
  std::vector<std::size_t> left;
  std::mutex left_mutex;
  parallel_for((n_queries + piece - 1) / piece, threads, task.interrupt, [&](std::size_t p) {
    std::vector<std::size_t> mine;
    probe(index, codes, words.data(), p * piece, std::min(n_queries, (p + 1) * piece), task, done, mine, stats);
    const std::lock_guard lock(left_mutex);
    left.insert(left.end(), mine.begin(), mine.end());
  });
  std::sort(left.begin(), left.end());
  return left;
}

std::vector<std::uint8_t> gather(const std::uint8_t* queries, const std::vector<std::size_t>& which, int n_bits) {
  const std::size_t n_bytes = bytes_per_code(n_bits);
  std::vector<std::uint8_t> result(which.size() * n_bytes);
  for (std::size_t i = 0; i < which.size(); ++i)
    std::copy_n(queries + which[i] * n_bytes, n_bytes, &result[i * n_bytes]);
  return result;
}

ProbeTask make_task(const MultiIndex::State& index, std::size_t n_queries, std::size_t k, const SearchOptions& options,
                    bool force) {
  ProbeTask task{};
  task.k = k;
  task.farthest = static_cast<std::uint32_t>(std::min(options.max_distance, index.n_bits));
  task.allowed = options.allowed;
  task.interrupt = options.interrupt;
  if (force) {
    task.scan_cost = task.free_trial = std::numeric_limits<double>::infinity();
    task.expected_farthest = index.n_bits;
  } else {
    task.scan_cost = scan_cost(index.n, index.words, n_queries);
    const bool all = k == FoundRows::everything;
    task.free_trial = all ? 0 : trial_share * task.scan_cost;
    task.expected_farthest = all ? index.n_bits : uniform_distance(index.n, index.n_bits, k);
  }
  return task;
}

}  // namespace

MultiIndex::State::State(const CodeBlocks& codes, int threads, Interrupt* interrupt)
    : n(codes.size()),
      words(codes.words()),
      n_bits(codes.n_bits()),
      substrings(cut_into_substrings(n_bits, n)),
      schedule(substrings, n, words),
      patterns(std::max_element(substrings.begin(), substrings.end(), [](const Substring& a, const Substring& b) {
                 return a.bits() < b.bits();
               })->bits()) {
  for (const Substring& substring : substrings) {
    groups.push_back(substring.group());
    tables.push_back(build_table(codes, substring, threads, interrupt));
  }
}

MultiIndex::MultiIndex(const CodeBlocks& codes, int threads, Interrupt* interrupt)
    : state_(std::make_unique<const State>(codes, resolve_threads(threads), interrupt)) {}
MultiIndex::MultiIndex(MultiIndex&&) noexcept = default;
MultiIndex& MultiIndex::operator=(MultiIndex&&) noexcept = default;
MultiIndex::~MultiIndex() = default;

std::size_t MultiIndex::size() const { return state_->n; }
std::size_t MultiIndex::n_substrings() const { return state_->substrings.size(); }

std::size_t MultiIndex::nbytes() const {
  std::size_t n = state_->patterns.nbytes();
  for (const BucketTable& table : state_->tables) n += table.nbytes();
  return n;
}

Neighbors MultiIndex::top_k(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                            const SearchOptions& options, SearchStats* stats, bool force) const {
  SearchStats unused;
  if (!stats) stats = &unused;
  Neighbors out{std::vector<std::int32_t>(n_queries * k, no_distance), std::vector<std::int64_t>(n_queries * k, no_id)};
  if (state_->n == 0 || options.max_distance < 0 || n_queries == 0) return out;
  const ProbeTask task = make_task(*state_, n_queries, std::min(k, state_->n), options, force);
  const auto done = [&](std::size_t q, const std::vector<std::uint64_t>& hits) {
    for (std::size_t i = 0; i < hits.size(); ++i) {
      out.distances[q * k + i] = static_cast<std::int32_t>(hits[i] >> 32);
      out.ids[q * k + i] = static_cast<std::int64_t>(hits[i] & 0xFFFFFFFF);
    }
  };
  const auto left = probe_all(*state_, codes, queries, n_queries, task, resolve_threads(options.threads), *stats, done);
  if (!left.empty()) {
    const auto some = gather(queries, left, codes.n_bits());
    const Neighbors found = simskip::top_k(codes, some.data(), left.size(), k, options);
    for (std::size_t i = 0; i < left.size(); ++i) {
      std::copy_n(&found.distances[i * k], k, &out.distances[left[i] * k]);
      std::copy_n(&found.ids[i * k], k, &out.ids[left[i] * k]);
    }
    stats->by_scan += left.size();
    stats->codes += left.size() * codes.size();
  }
  return out;
}

Range MultiIndex::range(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries,
                        const SearchOptions& options, SearchStats* stats, bool force) const {
  SearchStats unused;
  if (!stats) stats = &unused;
  Range out;
  out.limits.assign(n_queries + 1, 0);
  if (state_->n == 0 || options.max_distance < 0 || n_queries == 0) return out;
  const ProbeTask task = make_task(*state_, n_queries, FoundRows::everything, options, force);
  std::vector<std::vector<std::uint64_t>> found(n_queries);
  const auto left = probe_all(*state_, codes, queries, n_queries, task, resolve_threads(options.threads), *stats,
                              [&](std::size_t q, const std::vector<std::uint64_t>& hits) { found[q] = hits; });
  Range scanned;
  if (!left.empty()) {
    const auto some = gather(queries, left, codes.n_bits());
    scanned = simskip::range(codes, some.data(), left.size(), options);
    stats->by_scan += left.size();
    stats->codes += left.size() * codes.size();
  }
  std::size_t next_left = 0;
  for (std::size_t q = 0; q < n_queries; ++q) {
    if (next_left < left.size() && left[next_left] == q) {
      const std::int64_t begin = scanned.limits[next_left], end = scanned.limits[next_left + 1];
      std::copy(scanned.distances.begin() + begin, scanned.distances.begin() + end, std::back_inserter(out.distances));
      std::copy(scanned.ids.begin() + begin, scanned.ids.begin() + end, std::back_inserter(out.ids));
      ++next_left;
    } else {
      for (const std::uint64_t hit : found[q]) {
        out.distances.push_back(static_cast<std::int32_t>(hit >> 32));
        out.ids.push_back(static_cast<std::int64_t>(hit & 0xFFFFFFFF));
      }
    }
    out.limits[q + 1] = static_cast<std::int64_t>(out.ids.size());
  }
  return out;
}

double MultiIndex::build_cost(std::size_t n, int n_bits) {
  return simskip::build_cost(n, words_per_code(n_bits), cut_into_substrings(n_bits, n).size());
}

double MultiIndex::scan_cost(std::size_t n, int n_bits, std::size_t n_queries) {
  return simskip::scan_cost(n, words_per_code(n_bits), n_queries);
}

double MultiIndex::expected_query_cost(std::size_t n, int n_bits, std::size_t k) {
  const Schedule schedule(cut_into_substrings(n_bits, n), n, words_per_code(n_bits));
  const auto units = static_cast<std::size_t>(uniform_distance(n, n_bits, k)) + 1;
  return schedule.cost_before(std::min(units, schedule.size()));
}

double MultiIndex::expected_query_cost(const CodeBlocks& codes, std::size_t k) {
  return expected_query_cost(codes.size(), codes.n_bits(), k);
}

bool MultiIndex::worth_building(const CodeBlocks& codes, std::size_t k) {
  constexpr std::size_t batch = 1000;
  return expected_query_cost(codes, k) < 0.5 * scan_cost(codes.size(), codes.n_bits(), batch);
}

}  // namespace simskip
