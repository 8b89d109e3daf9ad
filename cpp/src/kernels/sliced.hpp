// The bit-sliced scan, for many queries and codes of at most four words, once for all instruction sets: see slices.hpp.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "scan.hpp"
#include "slices.hpp"

namespace simskip::kernels {
namespace {

// Queries that share the tables of a block.
inline constexpr std::uint32_t slice_queries = 1024;

// Off the hot path: appends the rows of masks in ascending order.
template <int Words>
[[gnu::noinline, gnu::cold]] void collect_slice(const Scan& scan, std::uint32_t row, const Word* masks,
                                                const Word* query, Hits& hits) {
  Word any = 0;
  for (std::uint32_t l = 0; l < rows_per_block; ++l) any |= masks[l];
  for (; any; any &= any - 1) {
    const int j = __builtin_ctzll(any);
    const std::uint32_t block_row = row + static_cast<std::uint32_t>(j) * rows_per_block;
    const Word* block = scan.blocks + static_cast<std::uint64_t>(block_row) * Words;
    for (std::uint32_t l = 0; l < rows_per_block; ++l) {
      const std::uint32_t r = block_row + l;
      if (!(masks[l] >> j & 1)) continue;
      if (hits.allowed && !(hits.allowed[r / 64] >> (r % 64) & 1)) continue;
      std::uint32_t distance = 0;
      for (int w = 0; w < Words; ++w)
        distance += static_cast<std::uint32_t>(__builtin_popcountll(block[w * rows_per_block + l] ^ query[w]));
      if (distance >= hits.threshold) continue;  // lowered while this block was collected
      hits.rows[hits.count] = r;
      hits.distances[hits.count] = static_cast<std::uint16_t>(distance);
      // Unlike a step of scan.hpp a slice may hold more rows than there is room for.
      if (++hits.count >= hits.full) hits.tighten(&hits);
    }
  }
}

// Scans as many rows as fill slices and returns the row after them.
template <class L, int Words>
[[gnu::noinline]] std::uint32_t scan_slices(const Scan& scan, const Word* const* queries, Hits* const* hits,
                                            std::uint32_t n_queries) {
  using S = Slices<L, Words>;
  S slices;
  typename S::Picks picks[slice_queries];
  std::uint32_t threshold[slice_queries];
  const auto refresh = [&](std::uint32_t q) {
    threshold[q] = hits[q]->threshold;
    if (threshold[q]) picks[q].set_threshold(threshold[q]);
  };
  for (std::uint32_t q = 0; q < n_queries; ++q) {
    picks[q].choose(queries[q]);
    refresh(q);
  }
  std::uint32_t row = scan.begin;
  for (; row + S::rows <= scan.end; row += S::rows) {
    slices.prepare(scan.blocks + static_cast<std::uint64_t>(row) * Words);
    for (std::uint32_t q = 0; q < n_queries; ++q) {
      alignas(64) Word masks[S::slices * rows_per_block];
      if (!threshold[q] || __builtin_expect(!slices.near(picks[q], masks), 1)) continue;
      for (int slice = 0; slice < S::slices; ++slice)
        collect_slice<Words>(scan, row + slice * rows_per_slice, masks + slice * rows_per_block, queries[q], *hits[q]);
      if (hits[q]->threshold != threshold[q]) refresh(q);
    }
  }
  return row;
}

// Same as scan(), faster for many queries. Falls back to it for long codes, for queries that still accept every
// distance, and for rows that do not fill a slice.
template <class L>
void scan_many(const Scan& all, const Word* const* queries, Hits* const* hits, std::uint32_t n_queries) {
  Scan sliced = all;
  sliced.end = all.end < all.n_rows ? all.end : all.n_rows;
  bool settled = all.words <= 4 && sliced.begin + rows_per_slice <= sliced.end;
  for (std::uint32_t q = 0; q < n_queries; ++q) settled = settled && hits[q]->threshold <= 64 * all.words;
  if (!settled) return scan<L>(all, queries, hits, n_queries);
  Scan rest = all;
  for (std::uint32_t q = 0; q < n_queries; q += slice_queries) {
    const std::uint32_t n = n_queries - q < slice_queries ? n_queries - q : slice_queries;
    switch (all.words) {
      case 1:
        rest.begin = scan_slices<L, 1>(sliced, queries + q, hits + q, n);
        break;
      case 2:
        rest.begin = scan_slices<L, 2>(sliced, queries + q, hits + q, n);
        break;
      case 3:
        rest.begin = scan_slices<L, 3>(sliced, queries + q, hits + q, n);
        break;
      default:
        rest.begin = scan_slices<L, 4>(sliced, queries + q, hits + q, n);
    }
  }
  if (rest.begin < rest.end) scan<L>(rest, queries, hits, n_queries);
}

}  // namespace
}  // namespace simskip::kernels
