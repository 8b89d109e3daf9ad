// Searches over the segments of an index, with filters: plans them and puts their hits together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "merged_hits.hpp"
#include "parallel.hpp"
#include "selection.hpp"
#include "simskip/codes.hpp"
#include "simskip/hamming_index.hpp"
#include "simskip/threads.hpp"

namespace simskip {

// Whether to copy `count` of n codes and scan the copy, rather than search all with a mask.
inline bool copy_is_cheaper(std::size_t count, std::size_t n, std::size_t n_queries, int n_bits, bool indexed) {
  // Nanoseconds of copying a code out of its place, and of a query by a multi-index; see MultiIndex::scan_cost.
  constexpr double copy_code = 5.0, copy_word = 1.0, index_query = 10'000.0;
  // A copy of more than one code in this many is not worth its memory.
  constexpr std::size_t densest_copy = 4;

  if (count == 0 || count > n / densest_copy) return count == 0;
  const auto queries = static_cast<double>(n_queries), copied = static_cast<double>(count);
  double masked = MultiIndex::scan_cost(n, n_bits, n_queries);
  // A filter that leaves one code in f makes an index look at f times as many.
  if (indexed) masked = std::min(masked, index_query * static_cast<double>(n) / copied);
  return copied * (copy_code + copy_word * static_cast<double>(words_per_code(n_bits))) +
             queries * MultiIndex::scan_cost(count, n_bits, n_queries) <
         queries * masked;
}

// `search(codes, segment, queries, n_queries, k, options)` gives hits whose ids are rows; segment is null for codes
// that are a copy. `queries` has `width` values per query.
template <class Query, class Search>
auto search_filtered(const SegmentList& list, const Query* queries, std::size_t n_queries, std::size_t k,
                     const Filter* where, const SearchOptions& options, Search&& search) {
  const auto& segments = list.segments();
  const auto with_ids = [](auto& found, auto&& id_of) {
    for (std::int64_t& id : found.ids)
      if (id != no_id) id = id_of(static_cast<std::size_t>(id));
  };
  Selection::Bits selected;
  if (where) {
    Selection selection(list, *where);
    const bool indexed = segments[0]->index() != nullptr;
    if (copy_is_cheaper(selection.size(), list.size(), n_queries, list.n_bits(), indexed)) {
      const Selection::Subset subset = selection.gather();
      auto found = search(subset.codes, nullptr, queries, n_queries, k, options);
      with_ids(found, [&](std::size_t row) { return subset.ids[row]; });
      return found;
    }
    selected = std::move(selection).take_bits();
  }
  using Found = decltype(search(segments[0]->codes(), segments[0].get(), queries, n_queries, k, options));
  std::vector<Part<Found>> parts;
  SearchOptions scan = options;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const Segment& segment = *segments[s];
    const std::size_t part_k = segments.size() == 1 ? k : std::min(k, segment.size());
    scan.allowed = selected.empty() ? segment.marks() : selected[s].data();
    parts.push_back({search(segment.codes(), &segment, queries, n_queries, part_k, scan), part_k});
    const bool rows_are_ids = segment.ids().empty() && segment.first_id() == 0;
    if (!rows_are_ids) with_ids(parts.back().found, [&](std::size_t row) { return segment.id_of(row); });
  }
  if (parts.size() == 1) return std::move(parts[0].found);
  return merge_hits(parts, n_queries, k);
}

// The same with a filter for each query: queries with the same one are searched together, groups side by side where
// there are enough of them.
template <class Query, class Search>
auto search_each(const SegmentList& list, const Query* queries, std::size_t n_queries, std::size_t width, std::size_t k,
                 const QueryFilters& each, const SearchOptions& options, Search&& search) {
  std::vector<std::vector<std::size_t>> groups(each.filters.size() + 1);
  for (std::size_t q = 0; q < n_queries; ++q)
    groups[each.of_query[q] < 0 ? each.filters.size() : static_cast<std::size_t>(each.of_query[q])].push_back(q);
  const auto run = [&](std::size_t g, const SearchOptions& own) {
    std::vector<Query> gathered(groups[g].size() * width);
    for (std::size_t i = 0; i < groups[g].size(); ++i)
      std::memcpy(&gathered[i * width], queries + groups[g][i] * width, width * sizeof(Query));
    return search_filtered(list, gathered.data(), groups[g].size(), k,
                           g < each.filters.size() ? &each.filters[g] : nullptr, own, search);
  };
  std::vector<decltype(run(0, options))> found(groups.size());
  const int threads = resolve_threads(options.threads);
  const auto used = static_cast<int>(std::min<std::ptrdiff_t>(
      std::count_if(groups.begin(), groups.end(), [](const auto& g) { return !g.empty(); }), max_threads));
  if (used < 2 * threads) {
    for (std::size_t g = 0; g < groups.size(); ++g)
      if (!groups[g].empty()) found[g] = run(g, options);
  } else {
    parallel_for(groups.size(), threads, options.interrupt, [&](std::size_t g) {
      if (groups[g].empty()) return;
      SearchOptions own = options;
      own.threads = 1;
      // Only the calling thread may ask; the others hear of it.
      const bool asks = on_calling_thread();
      Interrupt passed_on([&, asks] { return asks ? options.interrupt->check() : options.interrupt->requested(); });
      if (options.interrupt) own.interrupt = &passed_on;
      found[g] = run(g, own);
    });
  }
  return scatter_hits(std::move(found), groups, n_queries, k);
}

}  // namespace simskip
