#include "simskip/top_k.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <numeric>

#include "kernels/kernels.hpp"
#include "nearest_rows.hpp"
#include "parallel.hpp"
#include "simskip/codes.hpp"
#include "simskip/threads.hpp"
#include "threshold_sample.hpp"

namespace simskip {
namespace {

// Half of a usual L2 cache: a tile of codes stays there while all queries of a chunk look at it.
constexpr std::size_t tile_bytes = 256 << 10;
// Queries that share a pass over the database, and the memory their buffers may take in one thread.
constexpr std::size_t chunk_queries = 1024;
constexpr std::size_t chunk_bytes = std::size_t{64} << 20;
// From here on a bit-sliced scan pays for its tables.
constexpr std::size_t many_queries = 16;
// Words compared between two looks at the interrupt, by a bit-sliced scan: it needs no tile that stays in the cache.
constexpr std::size_t sliced_work = std::size_t{1} << 25;
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

// Scans rows [begin, end) tile by tile for `n` queries. Now and then `settle` may lower thresholds: a
// low threshold early is what keeps the hot loop from collecting.
template <class Settle>
void scan_tiles(const CodeBlocks& codes, std::size_t begin, std::size_t end, const std::uint64_t* const* queries,
                kernels::Hits* const* hits, std::size_t n, Interrupt* interrupt, Settle&& settle) {
  const kernels::Kernels& kernels = kernels::in_use();
  const bool many = n >= many_queries;
  const std::size_t wanted = std::max(tile_bytes / sizeof(std::uint64_t), many ? sliced_work / n : 0) / codes.words();
  const std::size_t tile = std::max<std::size_t>(wanted / 64 * 64, 64);
  const bool asks = interrupt && on_calling_thread();
  std::size_t step = std::min<std::size_t>(tile, 1024), next_settle = 0;
  for (std::size_t row = begin; row < end;) {
    if (asks ? interrupt->check() : interrupt && interrupt->requested()) return;
    const std::size_t stop = std::min(end, row + step);
    const kernels::Scan scan{codes.data(), static_cast<std::uint32_t>(codes.words()), static_cast<std::uint32_t>(row),
                             static_cast<std::uint32_t>(stop), static_cast<std::uint32_t>(codes.size())};
    (many ? kernels.scan_many : kernels.scan)(scan, queries, hits, static_cast<std::uint32_t>(n));
    // A threshold is worth a look whenever the rows seen have grown by half: it changes with their logarithm.
    if (stop - begin >= next_settle) {
      settle();
      next_settle = (stop - begin) * 3 / 2;
    }
    row = stop;
    step = std::min(tile, step * 4);
  }
}

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
      : codes_(codes),
        interrupt_(options.interrupt),
        k_(k),
        histogram_(codes.n_bits() + 1),
        thresholds_(queries.size(), first_threshold(options, codes.n_bits())) {
    nearest.reserve(queries.size());
    for (std::size_t q : queries) {
      nearest.emplace_back(k, thresholds_[0], options.allowed, histogram_);
      queries_.push_back(words[q]);
      hits_.push_back(&nearest.back());
    }
  }

  void guess(const ThresholdSample& sample) {
    if (sample.empty()) return;
    sample.lower(queries_.data(), thresholds_.data(), queries_.size());
    for (std::size_t q = 0; q < nearest.size(); ++q) {
      guessed_ = guessed_ || thresholds_[q] < nearest[q].threshold;
      nearest[q].threshold = thresholds_[q];
    }
  }

  void scan(std::size_t begin, std::size_t end) {
    const auto settle = [&] {
      for (NearestRows& rows : nearest) rows.keep_k();
    };
    scan_tiles(codes_, begin, end, queries_.data(), hits_.data(), hits_.size(), interrupt_, settle);
    settle();
  }

  // Whether a guess kept rows from query q (counted within the group) that belong to its k nearest.
  bool missed(std::size_t q) const { return guessed_ && nearest[q].count < k_; }

  std::vector<NearestRows> nearest;

 private:
  const CodeBlocks& codes_;
  Interrupt* interrupt_;
  std::size_t k_;
  std::vector<std::uint32_t> histogram_;
  std::vector<std::uint32_t> thresholds_;
  std::vector<const std::uint64_t*> queries_;
  std::vector<kernels::Hits*> hits_;
  bool guessed_ = false;
};

// Many queries: each thread takes chunks of them over the whole database.
void split_queries(const CodeBlocks& codes, const QueryWords& words, std::size_t n_queries, std::size_t k,
                   const SearchOptions& options, int threads, Neighbors& out) {
  const std::size_t kept = std::min(k, codes.size());
  const std::size_t fitting = std::max<std::size_t>(1, chunk_bytes / NearestRows::nbytes(kept));
  // Four chunks for each thread, so that they end at about the same time; fewer queries share a pass then.
  const std::size_t n_chunks = threads > 1 ? static_cast<std::size_t>(threads) * 4 : 1;
  const std::size_t fair = std::max<std::size_t>(4, (n_queries + n_chunks - 1) / n_chunks);
  const std::size_t chunk = std::min({chunk_queries, fitting, fair});
  const ThresholdSample sample(codes, kept, std::min(chunk, n_queries) < many_queries ? 0 : n_queries, options);
  parallel_for((n_queries + chunk - 1) / chunk, threads, options.interrupt, [&](std::size_t c) {
    std::vector<std::size_t> queries(std::min(chunk, n_queries - c * chunk));
    std::iota(queries.begin(), queries.end(), c * chunk);
    for (bool guess = true; !queries.empty(); guess = false) {
      QueryGroup group(codes, words, queries, kept, options);
      if (guess) group.guess(sample);
      group.scan(0, CodeBlocks::padded_rows(codes.size()));
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

// Few queries: each thread takes a part of the database, so that even one query uses them all.
void split_database(const CodeBlocks& codes, const QueryWords& words, std::size_t n_queries, std::size_t k,
                    const SearchOptions& options, int threads, Neighbors& out) {
  const std::size_t steps = CodeBlocks::padded_rows(codes.size()) / 64;
  const auto n_parts = static_cast<std::size_t>(threads);
  std::vector<std::unique_ptr<QueryGroup>> parts(n_parts);
  std::vector<std::size_t> queries(n_queries);
  std::iota(queries.begin(), queries.end(), std::size_t{0});
  parallel_for(n_parts, threads, options.interrupt, [&](std::size_t t) {
    parts[t] = std::make_unique<QueryGroup>(codes, words, queries, std::min(k, codes.size()), options);
    parts[t]->scan(steps * t / n_parts * 64, steps * (t + 1) / n_parts * 64);
  });
  std::vector<std::uint32_t> rows;
  std::vector<std::uint16_t> distances;
  for (std::size_t q = 0; q < n_queries; ++q) {
    rows.clear();
    distances.clear();
    for (const auto& part : parts) {  // parts follow each other in row order
      const NearestRows& found = part->nearest[q];
      rows.insert(rows.end(), found.rows, found.rows + found.count);
      distances.insert(distances.end(), found.distances, found.distances + found.count);
    }
    write_sorted(rows.data(), distances.data(), rows.size(), k, codes.n_bits(), &out.distances[q * k], &out.ids[q * k]);
  }
}

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
  // Only what was found is kept: buffers with room for many millions of queries would fill the memory.
  struct Found {
    std::vector<std::uint32_t> rows;
    std::vector<std::uint16_t> distances;
  };
  std::vector<Found> found(n_queries);
  parallel_for(n_queries, resolve_threads(options.threads), options.interrupt, [&](std::size_t q) {
    RowsWithin within(threshold, options.allowed);
    const std::uint64_t* query = words[q];
    kernels::Hits* hits = &within;
    scan_tiles(codes, 0, CodeBlocks::padded_rows(codes.size()), &query, &hits, 1, options.interrupt, [] {});
    if (within.failed()) throw std::bad_alloc();
    found[q].rows.assign(within.rows, within.rows + within.count);
    found[q].distances.assign(within.distances, within.distances + within.count);
  });

  Range out;
  out.limits.assign(n_queries + 1, 0);
  for (std::size_t q = 0; q < n_queries; ++q)
    out.limits[q + 1] = out.limits[q] + static_cast<std::int64_t>(found[q].rows.size());
  out.distances.resize(out.limits.back());
  out.ids.resize(out.limits.back());
  for (std::size_t q = 0; q < n_queries; ++q)
    write_sorted(found[q].rows.data(), found[q].distances.data(), found[q].rows.size(), found[q].rows.size(),
                 codes.n_bits(), out.distances.data() + out.limits[q], out.ids.data() + out.limits[q]);
  return out;
}

}  // namespace simskip
