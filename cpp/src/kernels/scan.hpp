// The Hamming scan, once for all instruction sets. Each of their files supplies `Lanes`:
//
//   Vec, lanes            a register of `lanes` 64-bit words
//   byte_counts           whether count() counts per byte (then at most 31 of them may be added up: 31 * 8 < 256)
//   load, load_unaligned  memory
//   splat, differ         one word everywhere, exclusive or
//   count, add, total     set bits; sum of counts; counts -> one distance per lane
//   mark, marked          collects "some distance is below the threshold" over several registers
//   below                 a bit per lane: distance < threshold
//   queries, blocks       how many queries share a pass, and blocks looked at per step (for 1, 2 and more words)
//
// Everything is in an anonymous namespace: code built with one file's -m flags must not serve another's calls.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace simskip::kernels {
namespace {

using Word = std::uint64_t;

// Distances of one register's rows; p points at their word 0. Words == 0: known at run time only.
template <class L, int Words>
[[gnu::always_inline]] inline typename L::Vec distances(const Word* p, const typename L::Vec* query, const Word* words,
                                                        std::uint32_t n_words) {
  typename L::Vec sum = L::count(L::differ(L::load(p), Words ? query[0] : L::splat(words[0])));
  if constexpr (Words != 0) {
#pragma GCC unroll 4
    for (int w = 1; w < Words; ++w) sum = L::add(sum, L::count(L::differ(L::load(p + w * rows_per_block), query[w])));
    return L::total(sum);
  } else {
    typename L::Vec all = L::splat(0);
    for (std::uint32_t w = 1; w < n_words; ++w) {
      if (L::byte_counts && w % 31 == 0) {
        all = L::add(all, L::total(sum));
        sum = L::splat(0);
      }
      sum = L::add(sum, L::count(L::differ(L::load(p + w * rows_per_block), L::splat(words[w]))));
    }
    return L::add(all, L::total(sum));
  }
}

// Off the hot path: looks at the rows [row, row + 8 * Blocks) again and appends those below the threshold. Without a
// branch for each register: which of them holds the row, no processor can predict.
template <class L, int Words, int Blocks>
[[gnu::noinline, gnu::cold]] void collect(const Scan& scan, std::uint32_t row, const Word* words, Hits& hits) {
  static_assert(Blocks * rows_per_block <= 64);
  const std::uint32_t n_words = Words ? Words : scan.words;
  typename L::Vec query[Words ? Words : 1];
  for (int w = 0; w < Words; ++w) query[w] = L::splat(words[w]);
  const typename L::Vec threshold = L::splat(hits.threshold);
  const Word* block = scan.blocks + static_cast<std::uint64_t>(row) * n_words;
  alignas(64) Word distance[Blocks * rows_per_block];
  Word found = 0;
#pragma GCC unroll 8
  for (std::uint32_t b = 0; b < Blocks; ++b)
#pragma GCC unroll 8
    for (std::uint32_t lane = 0; lane < rows_per_block; lane += L::lanes) {
      const std::uint32_t at = b * rows_per_block + lane;
      const auto d = distances<L, Words>(block + b * rows_per_block * n_words + lane, query, words, n_words);
      L::store(distance + at, d);
      found |= static_cast<Word>(L::below(d, threshold)) << at;
    }
  for (; found; found &= found - 1) {
    const int at = __builtin_ctzll(found);
    const std::uint32_t r = row + static_cast<std::uint32_t>(at);
    if (r >= scan.n_rows) break;
    if (hits.allowed && !(hits.allowed[r / 64] >> (r % 64) & 1)) continue;
    hits.rows[hits.count] = r;
    hits.distances[hits.count] = static_cast<std::uint16_t>(distance[at]);
    ++hits.count;
  }
  if (hits.count >= hits.full) hits.tighten(&hits);
}

// Looks at the first `compared` words of each code; if they alone do not differ in enough bits, collect() looks at all.
// Words != 0: known at compile time, and all are compared.
template <class L, int Words, int Queries, int Blocks>
[[gnu::noinline]] void scan_group(const Scan& scan, std::uint32_t compared, const Word* const* words,
                                  Hits* const* hits) {
  using Vec = typename L::Vec;
  static_assert(rows_per_step % (rows_per_block * Blocks) == 0);
  constexpr int kept = Words ? Words : 1;
  const std::uint32_t n_words = Words ? Words : scan.words;
  Vec query[Queries][kept];
  Vec threshold[Queries];
  for (int q = 0; q < Queries; ++q) {
    for (int w = 0; w < Words; ++w) query[q][w] = L::splat(words[q][w]);
    threshold[q] = L::splat(hits[q]->threshold);
  }
  const Word* p = scan.blocks + static_cast<std::uint64_t>(scan.begin) * n_words;
  const std::uint64_t stride = static_cast<std::uint64_t>(Blocks) * rows_per_block * n_words;
  for (std::uint32_t row = scan.begin; row < scan.end; row += Blocks * rows_per_block, p += stride) {
    if constexpr (Queries == 1) {
      // One query is bound by memory: ask for what comes 4 KiB later. (A prefetch past the end is harmless.)
      for (std::uint64_t ahead = 0; ahead < stride; ahead += 8) __builtin_prefetch(p + ahead + 512);
    }
    bool near[Queries];
    bool any = false;
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q) {
      Vec mark = L::unmarked();
#pragma GCC unroll 8
      for (int b = 0; b < Blocks; ++b)
#pragma GCC unroll 8
        for (std::uint32_t lane = 0; lane < rows_per_block; lane += L::lanes)
          mark =
              L::mark(mark, distances<L, Words>(p + b * rows_per_block * n_words + lane, query[q], words[q], compared),
                      threshold[q]);
      near[q] = L::marked(mark, threshold[q]);
      any |= near[q];
    }
    if (__builtin_expect(any, 0)) {
      for (int q = 0; q < Queries; ++q) {
        if (!near[q]) continue;
        collect<L, Words, Blocks>(scan, row, words[q], *hits[q]);
        threshold[q] = L::splat(hits[q]->threshold);
      }
    }
  }
}

// How many words usually show that a row is farther than all of these thresholds: unrelated codes differ in 32 bits of
// a word, with a standard deviation of 4, and the 8 rows of a block should pass together. All words, if not many fewer.
inline std::uint32_t prefix(const Scan& scan, Hits* const* hits, std::uint32_t n_queries) {
  std::uint32_t threshold = 0;
  for (std::uint32_t q = 0; q < n_queries; ++q)
    if (hits[q]->threshold > threshold) threshold = hits[q]->threshold;
  for (std::uint32_t words = 1; words * 4 <= scan.words * 3; ++words)
    if (32 * words > threshold && (32 * words - threshold) * (32 * words - threshold) >= 12 * 12 * words) return words;
  return scan.words;
}

template <class L, int Words, int Queries, int Blocks>
void scan_all(const Scan& scan, const Word* const* words, Hits* const* hits, std::uint32_t n_queries) {
  std::uint32_t q = 0;
  for (; q + Queries <= n_queries; q += Queries) {
    if constexpr (Words == 0 || (Words > 2 && L::byte_counts)) {
      const std::uint32_t compared = prefix(scan, hits + q, Queries);
      if (compared < scan.words) {
        scan_group<L, 0, Queries, Blocks>(scan, compared, words + q, hits + q);
        continue;
      }
    }
    scan_group<L, Words, Queries, Blocks>(scan, scan.words, words + q, hits + q);
  }
  // A lone query waits for memory: gaps would only hide from the processor what comes next.
  for (; q < n_queries; ++q) scan_group<L, Words, 1, Blocks>(scan, scan.words, words + q, hits + q);
}

template <class L>
void scan(const Scan& scan, const Word* const* words, Hits* const* hits, std::uint32_t n_queries) {
  switch (scan.words) {
    case 1:
      return scan_all<L, 1, L::queries[0], L::blocks[0]>(scan, words, hits, n_queries);
    case 2:
      return scan_all<L, 2, L::queries[1], L::blocks[1]>(scan, words, hits, n_queries);
    case 3:
      return scan_all<L, 3, L::queries[2], L::blocks[2]>(scan, words, hits, n_queries);
    case 4:
      return scan_all<L, 4, L::queries[2], L::blocks[2]>(scan, words, hits, n_queries);
    default:
      return scan_all<L, 0, L::queries[2], L::blocks[2]>(scan, words, hits, n_queries);
  }
}

}  // namespace
}  // namespace simskip::kernels
