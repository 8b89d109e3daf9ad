#include "simskip/top_k.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <numeric>
#include <utility>

#include "database_pass.hpp"
#include "kernels/kernels.hpp"
#include "nearest_rows.hpp"
#include "parallel.hpp"
#include "simskip/codes.hpp"
#include "simskip/threads.hpp"
#include "threshold_sample.hpp"

namespace simskip {
namespace {

// Queries that share a pass over the database, and the memory their buffers may take in one thread.
constexpr std::size_t chunk_queries = 1024;
constexpr std::size_t chunk_bytes = std::size_t{64} << 20;
// How a database is divided among threads: parts of at least so many words, each some microseconds of work.
constexpr std::size_t parts_per_thread = 8;
constexpr std::size_t smallest_part = 1 << 14;
// Word operations below which a team of threads costs more than it saves.
constexpr std::size_t serial_work = 1 << 17;

// Queries as the kernels want them.
class QueryWords {
 public:
  QueryWords(const std::uint8_t* queries, std::size_t n, int n_bits)
      : words_(words_per_code(n_bits)), data_(n * words_) {
    for (std::size_t q = 0; q < n; ++q)
      bytes_to_words(queries + q * bytes_per_code(n_bits), n_bits, &data_[q * words_]);
  }
  const std::uint64_t* operator[](std::size_t q) const { return &data_[q * words_]; }

 private:
  std::size_t words_;
  std::vector<std::uint64_t> data_;
};

// Writes the k nearest of `count` rows (in ascending order) as hits ordered by (distance, row).
void write_sorted(const std::uint32_t* rows, const std::uint16_t* distances, std::size_t count, std::size_t k,
                  int n_bits, std::int32_t* out_distances, std::int64_t* out_ids) {
  // Counting sort is stable, so rows stay in order within a distance.
  std::vector<std::size_t> start(static_cast<std::size_t>(n_bits) + 2, 0);
  for (std::size_t i = 0; i < count; ++i) ++start[distances[i] + 1];
  for (std::size_t d = 1; d < start.size(); ++d) start[d] += start[d - 1];
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t place = start[distances[i]]++;
    if (place >= k) continue;
    out_distances[place] = distances[i];
    out_ids[place] = rows[i];
  }
  for (std::size_t place = std::min(count, k); place < k; ++place) {
    out_distances[place] = no_distance;
    out_ids[place] = no_id;
  }
}

std::uint32_t first_threshold(const SearchOptions& options, int n_bits) {
  return static_cast<std::uint32_t>(std::clamp(options.max_distance, -1, n_bits) + 1);
}

// Some queries that share passes over rows of the database, in one thread.
class QueryGroup {
 public:
  QueryGroup(const CodeBlocks& codes, const QueryWords& words, const std::vector<std::size_t>& queries, std::size_t k,
             const SearchOptions& options)
      : pass_(codes, options.interrupt),
        k_(k),
        histogram_(codes.n_bits() + 1),
        thresholds_(queries.size(), first_threshold(options, codes.n_bits())) {
    nearest.reserve(queries.size());
    for (std::size_t q : queries) {
      nearest.emplace_back(k, thresholds_[0], options.allowed, histogram_);
      pass_.add(words[q], &nearest.back());
    }
  }
  QueryGroup(const QueryGroup&) = delete;

  void guess(const ThresholdSample& sample) {
    if (sample.empty()) return;
    sample.lower(pass_.queries().data(), thresholds_.data(), nearest.size());
    for (std::size_t q = 0; q < nearest.size(); ++q) {
      guessed_ = guessed_ || thresholds_[q] < nearest[q].threshold;
      nearest[q].threshold = thresholds_[q];
    }
  }

  // Rows after those of earlier calls.
  void scan(std::size_t begin, std::size_t end) {
    pass_.scan(begin, end, [this] { settle(); });
  }

  // Leaves the k nearest of all rows that were looked at. The last call.
  void settle() {
    for (NearestRows& rows : nearest) rows.keep_k();
  }

  // Whether a guess kept rows from query q (counted within the group) that belong to its k nearest.
  bool missed(std::size_t q) const { return guessed_ && nearest[q].count < k_; }

  std::vector<NearestRows> nearest;

 private:
  DatabasePass pass_;
  std::size_t k_;
  std::vector<std::uint32_t> histogram_;
  std::vector<std::uint32_t> thresholds_;
  bool guessed_ = false;
};

// Many queries: each thread takes chunks of them over the whole database.
void split_queries(const CodeBlocks& codes, const QueryWords& words, std::size_t n_queries, std::size_t k,
                   const SearchOptions& options, int threads, Neighbors& out) {
  const std::size_t kept = std::min(k, codes.size());
  const std::size_t fitting = std::max<std::size_t>(1, chunk_bytes / NearestRows::nbytes(kept));
  // The fewest chunks that are as many for each thread: the more queries share a pass, the less each pays for it.
  const std::size_t most = std::min(chunk_queries, fitting), team = static_cast<std::size_t>(threads);
  const std::size_t n_chunks = std::max<std::size_t>(1, (n_queries + most * team - 1) / (most * team) * team);
  const std::size_t chunk = std::max<std::size_t>(1, (n_queries + n_chunks - 1) / n_chunks);
  const ThresholdSample sample(codes, kept, std::min(chunk, n_queries) < many_queries ? 0 : n_queries, options);
  parallel_for((n_queries + chunk - 1) / chunk, threads, options.interrupt, [&](std::size_t c) {
    std::vector<std::size_t> queries(std::min(chunk, n_queries - c * chunk));
    std::iota(queries.begin(), queries.end(), c * chunk);
    for (bool guess = true; !queries.empty(); guess = false) {
      QueryGroup group(codes, words, queries, kept, options);
      if (guess) group.guess(sample);
      group.scan(0, CodeBlocks::padded_rows(codes.size()));
      group.settle();
      std::vector<std::size_t> missed;
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const std::size_t q = queries[i];
        const NearestRows& found = group.nearest[i];
        if (group.missed(i))
          missed.push_back(q);
        else
          write_sorted(found.rows, found.distances, found.count, k, codes.n_bits(), &out.distances[q * k],
                       &out.ids[q * k]);
      }
      queries = std::move(missed);
    }
  });
}

// Few queries: each thread takes parts of the database, so that even one query uses them all. The parts are small,
// because threads that slept come late, and ascend in each thread, so that thresholds carry over.
void split_database(const CodeBlocks& codes, const QueryWords& words, std::size_t n_queries, std::size_t k,
                    const SearchOptions& options, int threads, Neighbors& out) {
  const std::size_t end = CodeBlocks::padded_rows(codes.size());
  const auto n_threads = static_cast<std::size_t>(threads);
  const std::size_t fair = end / (n_threads * parts_per_thread);
  const std::size_t part = std::max<std::size_t>(std::max(fair, smallest_part / codes.words()) / 64 * 64, 64);
  std::vector<std::unique_ptr<QueryGroup>> groups(n_threads);
  std::vector<std::size_t> queries(n_queries);
  std::iota(queries.begin(), queries.end(), std::size_t{0});
  std::atomic<std::size_t> next{0};
  parallel_for(n_threads, threads, options.interrupt, [&](std::size_t t) {
    for (std::size_t begin; (begin = next.fetch_add(part)) < end;) {
      if (!groups[t])
        groups[t] = std::make_unique<QueryGroup>(codes, words, queries, std::min(k, codes.size()), options);
      groups[t]->scan(begin, std::min(end, begin + part));
    }
    if (groups[t]) groups[t]->settle();
  });
  std::vector<std::pair<std::uint32_t, std::uint16_t>> found;
  std::vector<std::uint32_t> rows;
  std::vector<std::uint16_t> distances;
  for (std::size_t q = 0; q < n_queries; ++q) {
    found.clear();
    for (const auto& group : groups)
      for (std::uint32_t i = 0; group && i < group->nearest[q].count; ++i)
        found.emplace_back(group->nearest[q].rows[i], group->nearest[q].distances[i]);
    std::sort(found.begin(), found.end());
    rows.clear();
    distances.clear();
    for (const auto& [row, distance] : found) {
      rows.push_back(row);
      distances.push_back(distance);
    }
    write_sorted(rows.data(), distances.data(), rows.size(), k, codes.n_bits(), &out.distances[q * k], &out.ids[q * k]);
  }
}

// The rows of one query within a radius, in ascending order.
struct RowsFound {
  std::vector<std::uint32_t> rows;
  std::vector<std::uint16_t> distances;
};

}  // namespace

Neighbors top_k(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                const SearchOptions& options) {
  Neighbors out{std::vector<std::int32_t>(n_queries * k), std::vector<std::int64_t>(n_queries * k)};
  const QueryWords words(queries, n_queries, codes.n_bits());
  const bool serial = codes.size() * codes.words() * n_queries < serial_work;
  const int threads = serial ? 1 : resolve_threads(options.threads);
  if (threads > 1 && n_queries < 2 * static_cast<std::size_t>(threads))
    split_database(codes, words, n_queries, k, options, threads, out);
  else
    split_queries(codes, words, n_queries, k, options, threads, out);
  return out;
}

Range range(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, const SearchOptions& options) {
  const QueryWords words(queries, n_queries, codes.n_bits());
  const std::uint32_t threshold = first_threshold(options, codes.n_bits());
  const int threads = codes.size() * codes.words() * n_queries < serial_work ? 1 : resolve_threads(options.threads);
  // Many queries share passes; few ones have the database split into parts.
  const auto n_threads = static_cast<std::size_t>(threads);
  const std::size_t n_tasks = threads > 1 ? n_threads * 4 : 1;
  const std::size_t chunk = std::clamp<std::size_t>((n_queries + n_tasks - 1) / n_tasks, 1, chunk_queries);
  const std::size_t n_chunks = (n_queries + chunk - 1) / chunk;
  const std::size_t n_parts = n_queries >= n_tasks || n_queries == 0 ? 1 : n_tasks / n_queries;
  const std::size_t steps = CodeBlocks::padded_rows(codes.size()) / 64;
  std::vector<RowsFound> found(n_queries * n_parts);
  parallel_for(n_chunks * n_parts, threads, options.interrupt, [&](std::size_t task) {
    const std::size_t part = task % n_parts, first = task / n_parts * chunk, n = std::min(chunk, n_queries - first);
    std::vector<RowsWithin> within;
    within.reserve(n);
    DatabasePass pass(codes, options.interrupt);
    for (std::size_t q = 0; q < n; ++q) {
      within.emplace_back(threshold, options.allowed);
      pass.add(words[first + q], &within.back());
    }
    pass.scan(steps * part / n_parts * 64, steps * (part + 1) / n_parts * 64, [] {});
    // Only what was found is kept: buffers with room for many millions of queries would fill the memory.
    for (std::size_t q = 0; q < n; ++q) {
      if (within[q].failed()) throw std::bad_alloc();
      RowsFound& kept = found[(first + q) * n_parts + part];
      kept.rows.assign(within[q].rows, within[q].rows + within[q].count);
      kept.distances.assign(within[q].distances, within[q].distances + within[q].count);
    }
  });

  Range out;
  out.limits.assign(n_queries + 1, 0);
  for (std::size_t i = 0; i < found.size(); ++i)
    out.limits[i / n_parts + 1] += static_cast<std::int64_t>(found[i].rows.size());
  std::partial_sum(out.limits.begin(), out.limits.end(), out.limits.begin());
  out.distances.resize(static_cast<std::size_t>(out.limits.back()));
  out.ids.resize(out.distances.size());
  for (std::size_t q = 0; q < n_queries; ++q) {
    RowsFound& all = found[q * n_parts];
    for (std::size_t part = 1; part < n_parts; ++part) {
      const RowsFound& more = found[q * n_parts + part];
      all.rows.insert(all.rows.end(), more.rows.begin(), more.rows.end());
      all.distances.insert(all.distances.end(), more.distances.begin(), more.distances.end());
    }
    write_sorted(all.rows.data(), all.distances.data(), all.rows.size(), all.rows.size(), codes.n_bits(),
                 out.distances.data() + out.limits[q], out.ids.data() + out.limits[q]);
  }
  return out;
}

}  // namespace simskip
