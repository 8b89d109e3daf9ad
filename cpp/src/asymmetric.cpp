#include "simskip/asymmetric.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/kernels.hpp"
#include "parallel.hpp"
#include "simskip/threads.hpp"
#include "weight_tables.hpp"

namespace simskip {
namespace {

using kernels::rows_per_group;

// Nibble planes that are made for all queries of a chunk: half of a small L1 cache.
constexpr std::size_t tile_bytes = 16 << 10;
// Rows that are scored before there is a threshold.
constexpr std::size_t first_rows = 256;
// For such k it pays to guess one from groups that are looked at in advance, if enough of the k nearest are among them.
constexpr std::size_t guessed_k = 512;
constexpr std::size_t sampled_groups = 64;
constexpr double expected_in_sample = 6.0;
// Queries that share a pass over the database, and the memory of their tables.
constexpr std::size_t chunk_queries = 64;
constexpr std::size_t chunk_bytes = std::size_t{16} << 20;
// Groups of rows that are worth a thread.
constexpr std::size_t groups_per_part = 256;

// A distance and a row in one number. Distances are not negative, so these numbers are ordered as (distance, row).
using Hit = std::uint64_t;
Hit make_hit(float distance, std::size_t row) { return Hit{std::bit_cast<std::uint32_t>(distance)} << 32 | row; }
float distance_of(Hit hit) { return std::bit_cast<float>(static_cast<std::uint32_t>(hit >> 32)); }
std::uint32_t row_of(Hit hit) { return static_cast<std::uint32_t>(hit); }

// Ascending. Long lists byte by byte from the lowest: comparing costs more, because nobody can foretell the outcome.
void sort_hits(std::vector<Hit>& hits) {
  constexpr std::size_t worth_counting = 512;
  if (hits.size() < worth_counting) return std::sort(hits.begin(), hits.end());
  std::vector<Hit> sorted(hits.size());
  for (int shift = 0; shift < 64; shift += 8) {
    std::array<std::size_t, 256> place{};
    for (const Hit hit : hits) ++place[hit >> shift & 0xFF];
    if (place[hits[0] >> shift & 0xFF] == hits.size()) continue;  // all alike
    std::exclusive_scan(place.begin(), place.end(), place.begin(), std::size_t{0});
    for (const Hit hit : hits) sorted[place[hit >> shift & 0xFF]++] = hit;
    hits.swap(sorted);
  }
}

struct alignas(64) CacheLine {
  std::uint8_t bytes[64];
};

// Bit 8 * l + b, as kernels number the rows of a group, becomes bit 8 * b + l (Hacker's Delight, 7-3).
std::uint64_t in_row_order(std::uint64_t mask) {
  std::uint64_t swapped = (mask ^ mask >> 7) & 0x00AA00AA00AA00AA;
  mask ^= swapped ^ swapped << 7;
  swapped = (mask ^ mask >> 14) & 0x0000CCCC0000CCCC;
  mask ^= swapped ^ swapped << 14;
  swapped = (mask ^ mask >> 28) & 0x00000000F0F0F0F0;
  return mask ^ swapped ^ swapped << 28;
}

// One query and the nearest of the rows that it saw. Rows must come in ascending order: then one at the distance of
// the k-th can no longer enter.
class Nearest {
 public:
  Nearest(const float* outputs, int n_bits, std::size_t k)
      : weights_(outputs, n_bits), bounds_(outputs, n_bits), k_(k) {}

  // Whether there is a threshold: before, every row is a candidate.
  bool settled() const { return threshold_ < std::numeric_limits<float>::infinity(); }
  // Whether no row can be nearer than those found.
  bool finished() const { return threshold_ == 0.0f; }
  const NibbleTables& bounds() const { return bounds_; }

  // Looks at the rows of a group that are in the mask.
  void collect(const CodeBlocks& codes, std::size_t group, std::uint64_t mask) {
    const std::size_t row = group * rows_per_group, words = codes.words();
    const std::uint64_t* data = codes.data() + row * words;
    if (std::popcount(mask) > one_by_one) {
      // All rows at once: the running sums stay in L1, none waits for another's, and each table is fetched once.
      float sums[rows_per_group] = {};
      for (std::size_t byte = 0; byte < words * 8; ++byte) {
        const std::array<float, 256>& entry = weights_[byte];
        for (std::size_t block = 0; block < rows_per_group / 8; ++block) {
          const std::uint64_t* word = data + (block * words + byte / 8) * 8;
          for (std::size_t lane = 0; lane < 8; ++lane)
            sums[block * 8 + lane] += entry[word[lane] >> (8 * (byte % 8)) & 0xFF];
        }
      }
      for (; mask; mask &= mask - 1) {
        const auto i = static_cast<std::size_t>(std::countr_zero(mask));
        add(sums[i], row + i);
      }
      return;
    }
    for (; mask; mask &= mask - 1) {
      const auto i = static_cast<std::size_t>(std::countr_zero(mask));
      add(weights_.distance(data + i / 8 * words * 8 + i % 8), row + i);
    }
  }

  // Guesses a threshold after a `share` of the rows was collected, and forgets those: the sample's share of the k
  // nearest and three standard deviations more. Then far fewer rows are collected than while a threshold falls from
  // infinity.
  void guess(double share) {
    const double expected = static_cast<double>(k_) * share;
    const auto rank = static_cast<std::size_t>(expected + 3.0 * std::sqrt(expected)) + 1;
    if (rank < found_.size()) {
      const auto last = found_.begin() + static_cast<std::ptrdiff_t>(rank);
      std::nth_element(found_.begin(), last, found_.end());
      // The next float: rows at this distance are wanted, too.
      threshold_ = std::nextafter(distance_of(*last), std::numeric_limits<float>::infinity());
      guessed_ = settled();
      if (guessed_) bounds_.set_threshold(threshold_);
    }
    found_.clear();
  }
  // Whether the guess was too low: too few rows were found. Forgets it.
  bool guessed_wrong() {
    if (!guessed_ || found_.size() >= k_) return false;
    guessed_ = false;
    found_.clear();
    threshold_ = std::numeric_limits<float>::infinity();
    bounds_.forget_threshold();
    return true;
  }

  // Drops rows that are not among the k nearest, once that is worth it.
  void settle() {
    const std::size_t enough = k_ + (settled() ? k_ / 2 + 16 : 0);
    if (found_.size() < enough) return;
    if (!settled() || !drop_far_ones() || found_.size() >= enough) {
      std::nth_element(found_.begin(), found_.begin() + static_cast<std::ptrdiff_t>(k_) - 1, found_.end());
      found_.resize(k_);
    }
    const float farthest = distance_of(*std::max_element(found_.begin(), found_.end()));
    if (farthest == threshold_) return;
    threshold_ = farthest;
    if (!finished()) bounds_.set_threshold(threshold_);
  }

  // The k nearest, ascending.
  std::vector<Hit> take() {
    std::vector<Hit> hits = std::move(found_);
    sort_hits(hits);
    if (hits.size() > k_) hits.resize(k_);
    return hits;
  }

 private:
  // Up to this many rows of a group are not worth scoring them all.
  static constexpr int one_by_one = 12;

  void add(float distance, std::size_t row) {
    if (distance < threshold_) found_.push_back(make_hit(distance, row));
  }

  // Counts distances in steps of the threshold's 256th and drops the steps beyond the k-th row. Cheaper than an exact
  // selection, whose branches cannot be foretold; false where steps say nothing.
  bool drop_far_ones() {
    constexpr std::size_t steps = 256;
    const float scale = static_cast<float>(steps) / threshold_;
    if (!(scale < std::numeric_limits<float>::max())) return false;
    const auto step_of = [&](Hit hit) {
      return std::min(static_cast<std::size_t>(distance_of(hit) * scale), steps - 1);
    };
    std::array<std::uint32_t, steps> count{};
    for (const Hit hit : found_) ++count[step_of(hit)];
    std::size_t last = 0;
    for (std::size_t nearer = count[0]; nearer < k_; nearer += count[last]) ++last;
    std::size_t kept = 0;
    for (const Hit hit : found_) {
      found_[kept] = hit;
      kept += step_of(hit) <= last;
    }
    found_.resize(kept);
    return true;
  }

  WeightTables weights_;
  NibbleTables bounds_;
  std::size_t k_;
  float threshold_ = std::numeric_limits<float>::infinity();
  bool guessed_ = false;
  std::vector<Hit> found_;
};

// The rows of a group that count.
std::uint64_t wanted_rows(const CodeBlocks& codes, std::size_t group, const SearchOptions& options) {
  const std::size_t padded = codes.size() / rows_per_group;  // the group that is not full, if there is one
  const std::uint64_t rows = group < padded ? ~std::uint64_t{0} : ~(~std::uint64_t{0} << codes.size() % rows_per_group);
  return options.allowed ? rows & options.allowed[group] : rows;
}

// Guesses thresholds from groups spread evenly over [begin, end), so that it does not matter how rows are ordered.
void guess_thresholds(const CodeBlocks& codes, std::size_t begin, std::size_t end, std::vector<Nearest>& queries,
                      std::size_t k, const SearchOptions& options) {
  const double share = static_cast<double>(sampled_groups) / static_cast<double>(end - begin);
  if (k < guessed_k || share > 0.25 || share * static_cast<double>(k) < expected_in_sample) return;
  for (Nearest& query : queries) {
    for (std::size_t i = 0; i < sampled_groups; ++i) {
      const std::size_t group = begin + (end - begin) * i / sampled_groups;
      query.collect(codes, group, wanted_rows(codes, group, options));
    }
    query.guess(share);
  }
}

// Shows the groups [begin, end) of rows to some queries, in one thread.
void scan(const CodeBlocks& codes, std::size_t begin, std::size_t end, const std::vector<Nearest*>& queries,
          const SearchOptions& options) {
  const kernels::Kernels& kernels = kernels::in_use();
  const std::size_t group_bytes = rows_per_group * kernels::nibbles_per_word * codes.words();
  const std::size_t tile = std::clamp<std::size_t>(tile_bytes / group_bytes, 1, 64);
  std::vector<CacheLine> planes(tile * group_bytes / sizeof(CacheLine));
  const kernels::Nibbles all{planes[0].bytes, static_cast<std::uint32_t>(codes.words()), 0};
  std::uint64_t masks[64];
  const bool asks = on_calling_thread();
  std::size_t step = std::min(tile, first_rows / rows_per_group);
  for (std::size_t first = begin; first < end;) {
    if (options.interrupt && (asks ? options.interrupt->check() : options.interrupt->requested())) return;
    const std::size_t stop = std::min(end, first + step);
    kernels::Nibbles nibbles = all;
    for (Nearest* query : queries) {
      if (query->finished()) continue;
      if (kernels.near_nibbles && query->settled()) {
        if (!nibbles.groups) {
          nibbles.groups = static_cast<std::uint32_t>(stop - first);
          kernels.split_nibbles(
              {codes.data(), all.words, static_cast<std::uint32_t>(first * rows_per_group),
               static_cast<std::uint32_t>(stop * rows_per_group), static_cast<std::uint32_t>(codes.size())},
              planes[0].bytes);
        }
        std::uint64_t near = kernels.near_nibbles(nibbles, query->bounds().data(), query->bounds().limit(), masks);
        if (!near) continue;
        for (; near; near &= near - 1) {
          const auto g = static_cast<std::size_t>(std::countr_zero(near));
          query->collect(codes, first + g, in_row_order(masks[g]) & wanted_rows(codes, first + g, options));
        }
      } else {
        for (std::size_t group = first; group < stop; ++group)
          query->collect(codes, group, wanted_rows(codes, group, options));
      }
      query->settle();
    }
    first = stop;
    step = std::min(tile, first - begin);  // thresholds fall fast in the beginning: by a factor per doubling
  }
}

}  // namespace

FloatNeighbors asymmetric_top_k(const CodeBlocks& codes, const float* outputs, std::size_t n_queries, std::size_t k,
                                const SearchOptions& options) {
  FloatNeighbors out{std::vector<float>(n_queries * k, std::numeric_limits<float>::infinity()),
                     std::vector<std::int64_t>(n_queries * k, no_id)};
  if (codes.size() == 0) return out;
  const auto threads = static_cast<std::size_t>(resolve_threads(options.threads));
  const std::size_t groups = CodeBlocks::padded_rows(codes.size()) / rows_per_group;
  // Few queries share the database among threads, in parts of a size that is worth a thread.
  const std::size_t parts =
      n_queries >= 2 * threads ? 1 : std::clamp<std::size_t>(groups / groups_per_part, 1, threads);
  const std::size_t fair = threads == 1 || parts > 1 ? n_queries : (n_queries + threads * 4 - 1) / (threads * 4);
  const std::size_t fitting = chunk_bytes / WeightTables::nbytes(codes.n_bits());
  const std::size_t chunk = std::clamp<std::size_t>(std::min(fair, fitting), 1, chunk_queries);
  const std::size_t chunks = (n_queries + chunk - 1) / chunk;
  std::vector<std::vector<std::vector<Hit>>> found(chunks * parts);  // per query of the chunk
  parallel_for(chunks * parts, static_cast<int>(threads), options.interrupt, [&](std::size_t task) {
    const std::size_t c = task / parts, part = task % parts;
    std::vector<Nearest> queries;
    for (std::size_t q = c * chunk; q < std::min(n_queries, (c + 1) * chunk); ++q)
      queries.emplace_back(outputs + q * static_cast<std::size_t>(codes.n_bits()), codes.n_bits(),
                           std::min(k, codes.size()));
    const std::size_t begin = groups * part / parts, end = groups * (part + 1) / parts;
    guess_thresholds(codes, begin, end, queries, std::min(k, codes.size()), options);
    std::vector<Nearest*> pending;
    for (Nearest& query : queries) pending.push_back(&query);
    while (!pending.empty()) {
      scan(codes, begin, end, pending, options);
      if (options.interrupt && options.interrupt->requested()) return;
      std::erase_if(pending, [](Nearest* query) { return !query->guessed_wrong(); });
    }
    for (Nearest& query : queries) found[task].push_back(query.take());
  });
  for (std::size_t q = 0; q < n_queries; ++q) {
    std::vector<Hit>& all = found[q / chunk * parts][q % chunk];
    for (std::size_t part = 1; part < parts; ++part) {
      const std::vector<Hit>& more = found[q / chunk * parts + part][q % chunk];
      all.insert(all.end(), more.begin(), more.end());
    }
    if (parts > 1) sort_hits(all);
    for (std::size_t i = 0; i < std::min(k, all.size()); ++i) {
      out.distances[q * k + i] = distance_of(all[i]);
      out.ids[q * k + i] = row_of(all[i]);
    }
  }
  return out;
}

}  // namespace simskip
