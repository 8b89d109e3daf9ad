// The searches of a HammingIndex, and the multi-indexes that they build.
#include <algorithm>
#include <chrono>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>

#include "segment_search.hpp"
#include "simskip/asymmetric.hpp"
#include "simskip/codes.hpp"
#include "simskip/duplicates.hpp"
#include "simskip/hamming_index.hpp"

namespace simskip {
namespace {

// A segment of fewer than one code in this many is scanned: the others decide what a search costs.
constexpr std::size_t small_share = 8;
// Neighbours that a range search is taken to find when an index is considered.
constexpr std::size_t usual_k = 25;
// Rows of a graph that are searched at a time: enough for a batch, little memory.
constexpr std::size_t graph_rows = 4096;

void require_codes(const SegmentList& segments) {
  if (segments.empty()) throw std::invalid_argument("the index is empty: add codes before searching");
}

bool large(const Segment& segment, const SegmentList& segments) {
  return segment.live() >= segments.size() / small_share;
}

// Runs it with one filter or one for each query.
template <class Query, class Search>
auto search_segments(const SegmentList& segments, const Query* queries, std::size_t n_queries, std::size_t width,
                     std::size_t k, const IndexOptions& options, Search&& search) {
  require_codes(segments);
  const SearchOptions scan{options.max_distance, nullptr, options.threads, options.interrupt};
  if (options.each) return search_each(segments, queries, n_queries, width, k, *options.each, scan, search);
  return search_filtered(segments, queries, n_queries, k, options.where, scan, search);
}

// Searches one set of codes by `indexed(index, stats)` if it has an index, by `scan()` else, and keeps the accounts:
// the largest segment decides how a query was answered.
template <class Indexed, class Scan>
auto search_codes(const CodeBlocks& codes, const Segment* segment, const SegmentList& segments, std::size_t n_queries,
                  SearchStats& stats, Indexed&& indexed, Scan&& scan) {
  SearchStats own;
  const auto index = segment ? segment->index() : nullptr;
  auto found = index ? indexed(*index, &own) : scan();
  if (!index) {
    own.by_scan = n_queries;
    own.codes = n_queries * codes.size();
    if (segment) segment->scanned(MultiIndex::scan_cost(codes.size(), codes.n_bits(), n_queries) * n_queries);
  }
  stats.codes += own.codes;
  stats.buckets += own.buckets;
  if (segment && segment != segments.segments().front().get()) return found;
  stats.by_index += own.by_index;
  stats.by_scan += own.by_scan;
  return found;
}

}  // namespace

// A segment is sealed under the lock and then held and read without it; one that is merged away meanwhile gets its
// index for nothing.
void HammingIndex::build(int threads, Interrupt* interrupt) const {
  std::unique_lock alone(building_, std::try_to_lock);
  while (!alone) {  // somebody else builds, perhaps for seconds
    if (interrupt && interrupt->check()) throw Interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    alone.try_lock();
  }
  std::vector<std::shared_ptr<Segment>> due;
  {
    const auto lock = reading();
    for (const auto& segment : segments_.segments())
      if (large(*segment, segments_) && !segment->index()) due.push_back(segment);
    for (const auto& segment : due) segment->seal();
  }
  for (const auto& segment : due)
    segment->attach(std::make_shared<const MultiIndex>(segment->codes(), threads, interrupt));
}

// Builds what this search should not do without, unless somebody is building already.
void HammingIndex::build_due(std::size_t n_queries, std::size_t k, const IndexOptions& options) const {
  if (method_ == Method::scan || n_queries == 0) return;
  const std::unique_lock alone(building_, std::try_to_lock);
  if (!alone) return;
  std::vector<std::shared_ptr<Segment>> due;
  {
    const auto lock = reading();
    for (const auto& segment : segments_.segments()) {
      if (segment->index() || !large(*segment, segments_)) continue;
      // The scans of this batch count, too: they are known to come.
      const double batch = MultiIndex::scan_cost(segment->size(), n_bits(), n_queries) * static_cast<double>(n_queries);
      if (method_ == Method::automatic &&
          segment->scan_cost() + batch < MultiIndex::build_cost(segment->size(), n_bits()))
        continue;
      due.push_back(segment);
    }
    for (const auto& segment : due) segment->seal();
  }
  for (const auto& segment : due) {
    try {
      if (method_ == Method::multi_index ||
          MultiIndex::worth_building(segment->codes(), k, options.threads, options.interrupt)) {
        segment->attach(std::make_shared<const MultiIndex>(segment->codes(), options.threads, options.interrupt));
        continue;
      }
    } catch (const std::bad_alloc&) {
      // Scans need no memory.
    }
    // Asked again when scans have paid for it again; until then it may grow.
    segment->forget_scans();
    const auto lock = reading();
    segment->unseal();
  }
}

Neighbors HammingIndex::search_locked(const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                                      const IndexOptions& options) const {
  const bool always = method_ == Method::multi_index;
  return search_segments(segments_, queries, n_queries, bytes_per_code(n_bits()), k, options,
                         [&](const CodeBlocks& codes, const Segment* segment, const std::uint8_t* some, std::size_t n,
                             std::size_t most, const SearchOptions& scan) {
                           return search_codes(
                               codes, segment, segments_, n, stats_,
                               [&](const MultiIndex& index, SearchStats* stats) {
                                 return index.top_k(codes, some, n, most, scan, stats, always);
                               },
                               [&] { return top_k(codes, some, n, most, scan); });
                         });
}

Neighbors HammingIndex::search(const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                               const IndexOptions& options) const {
  build_due(n_queries, k, options);
  const auto lock = reading();
  return search_locked(queries, n_queries, k, options);
}

FloatNeighbors HammingIndex::search_asymmetric(const float* outputs, std::size_t n_queries, std::size_t k,
                                               const IndexOptions& options) const {
  const auto lock = reading();
  return search_segments(
      segments_, outputs, n_queries, static_cast<std::size_t>(n_bits()), k, options,
      [&](const CodeBlocks& codes, const Segment*, const float* some, std::size_t n, std::size_t most,
          const SearchOptions& scan) { return asymmetric_top_k(codes, some, n, most, scan); });
}

Range HammingIndex::range_search(const std::uint8_t* queries, std::size_t n_queries,
                                 const IndexOptions& options) const {
  build_due(n_queries, usual_k, options);
  const auto lock = reading();
  const bool always = method_ == Method::multi_index;
  return search_segments(segments_, queries, n_queries, bytes_per_code(n_bits()), 0, options,
                         [&](const CodeBlocks& codes, const Segment* segment, const std::uint8_t* some, std::size_t n,
                             std::size_t, const SearchOptions& scan) {
                           return search_codes(
                               codes, segment, segments_, n, stats_,
                               [&](const MultiIndex& index, SearchStats* stats) {
                                 return index.range(codes, some, n, scan, stats, always);
                               },
                               [&] { return range(codes, some, n, scan); });
                         });
}

Neighbors HammingIndex::knn_graph(std::size_t k, const IndexOptions& options) const {
  build_due(size(), k, options);
  const auto lock = reading();
  require_codes(segments_);
  const std::size_t n = segments_.size(), n_bytes = bytes_per_code(n_bits());
  Neighbors graph{std::vector<std::int32_t>(n * k, no_distance), std::vector<std::int64_t>(n * k, no_id)};
  // Each pair's distance is computed twice, once for either row, by the same batch searches as any. Telling both rows
  // of a pair that was compared once was built and measured: with thresholds guessed from a sample for all rows and
  // locked lists that take hits in any order it takes 1.2 times as long at 64 bits (100 k and 400 k rows, k = 25) and
  // 0.9 times at 256 to 1024, for what it saves in distances goes into hits that the wider threshold of a tile lets
  // through and into lists that are in no cache. Of `duplicates`, whose threshold is fixed, each pair is compared once.
  // A row's nearest k + 1 with itself, if it is among them (it is not if more than k equal it and have lower ids).
  const std::size_t wanted = std::min(k + 1, n);
  IndexOptions all;
  all.threads = options.threads;
  all.interrupt = options.interrupt;
  std::vector<std::uint8_t> queries;
  std::vector<std::int64_t> ids;
  std::size_t done = 0;
  const auto search_block = [&] {
    const Neighbors found = search_locked(queries.data(), ids.size(), wanted, all);
    for (std::size_t q = 0; q < ids.size(); ++q) {
      std::size_t place = (done + q) * k;
      for (std::size_t i = q * wanted; i < (q + 1) * wanted && place < (done + q + 1) * k; ++i) {
        if (found.ids[i] == ids[q]) continue;
        graph.distances[place] = found.distances[i];
        graph.ids[place++] = found.ids[i];
      }
    }
    done += ids.size();
    queries.clear();
    ids.clear();
  };
  segments_.for_each_run([&](std::size_t s, std::size_t begin, std::size_t end) {
    const Segment& segment = *segments_.segments()[s];
    for (std::size_t row = begin; row < end; ++row) {
      if (!segment.is_live(row)) continue;
      queries.resize(queries.size() + n_bytes);
      segment.codes().read(row, &queries[queries.size() - n_bytes]);
      ids.push_back(segment.id_of(row));
      if (ids.size() == graph_rows) search_block();
    }
    return true;
  });
  if (!ids.empty()) search_block();
  return graph;
}

HammingIndex::Groups HammingIndex::duplicates(const IndexOptions& options) const {
  const auto lock = reading();
  Groups groups;
  groups.limits.push_back(0);
  if (segments_.empty()) return groups;
  const auto& segments = segments_.segments();
  const std::shared_ptr<const Segment> segment = segments.size() == 1 ? segments[0] : segments_.merged();
  const SearchOptions scan{options.max_distance, segment->marks(), options.threads, options.interrupt};
  // Rows in the order of their groups' lowest rows, then their own.
  const std::vector<std::uint32_t> lowest = duplicate_groups(segment->codes(), scan);
  std::vector<std::uint32_t> start(lowest.size() + 1);
  for (const std::uint32_t row : lowest) ++start[row + 1];
  std::vector<bool> alone(lowest.size());
  for (std::size_t row = 0; row < lowest.size(); ++row) {
    alone[row] = start[row + 1] == 1;
    if (alone[row]) start[row + 1] = 0;
    start[row + 1] += start[row];
    if (start[row + 1] > start[row]) groups.limits.push_back(start[row + 1]);
  }
  groups.ids.resize(start.back());
  for (std::size_t row = 0; row < lowest.size(); ++row)
    if (!alone[lowest[row]]) groups.ids[start[lowest[row]]++] = segment->id_of(row);
  return groups;
}

}  // namespace simskip
