// Distances of the codes in a multi-index's buckets, once for all instruction sets (`Lanes`: see scan.hpp).
//
// Codes of one word lie in the buckets themselves, so a bucket is read from end to end; of longer codes the bucket has
// the rows. Few of the codes are near, so a row that passes pays for what the others are spared.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "runs.hpp"
#include "scan.hpp"

namespace simskip::kernels {
namespace {

// Whether another table has shown this row. `word(w)` is word w of the code's difference to the query.
template <class Difference>
[[gnu::always_inline]] inline bool shown_before(const Runs& runs, Difference word) {
  for (std::uint32_t g = 0; g < runs.n_groups; ++g) {
    const BitGroup& group = runs.groups[g];
    const int differing = __builtin_popcountll(word(group.word) & group.mask);
    if (g != runs.table && differing <= runs.reached[g]) return true;
  }
  return false;
}

// Appends those of up to 64 entries from `entry` on that are set in `near`.
[[gnu::noinline]] inline void collect_entries(const Runs& runs, std::uint32_t entry, Word near, Hits& hits) {
  for (; near; near &= near - 1) {
    const std::uint32_t e = entry + static_cast<std::uint32_t>(__builtin_ctzll(near));
    const Word difference = runs.codes[e] ^ runs.query[0];
    const auto distance = static_cast<std::uint32_t>(__builtin_popcountll(difference));
    if (distance >= hits.threshold) continue;  // lowered meanwhile
    if (shown_before(runs, [&](std::uint32_t) { return difference; })) continue;
    hits.rows[hits.count] = e;
    hits.distances[hits.count] = static_cast<std::uint16_t>(distance);
    if (++hits.count >= hits.full) hits.tighten(&hits);
  }
}

// Appends to `hits` the entries nearer than its threshold that no other table has shown: (entry, distance).
template <class L>
void scan_runs(const Runs& runs, Hits& hits) {
  using Vec = typename L::Vec;
  constexpr std::uint32_t lanes = L::lanes;
  // Long runs are looked at 32 codes at a time.
  constexpr std::uint32_t stride = 32;
  const Vec query = L::splat(runs.query[0]);
  std::uint32_t known = hits.threshold;
  Vec threshold = L::splat(known);
  const auto distances = [&](const Word* p) { return L::total(L::count(L::differ(L::load_unaligned(p), query))); };
  for (std::uint32_t r = 0; r < runs.n_runs; ++r) {
    std::uint32_t entry = runs.runs[r].begin;
    const std::uint32_t end = runs.runs[r].end;
    for (; end - entry >= stride; entry += stride) {
      const Word* p = runs.codes + entry;
      // A bucket lies in memory by itself: nothing but this asks for it in time. (Past the end it is harmless.)
      for (std::uint32_t line = 0; line < stride; line += 8) __builtin_prefetch(p + line + 128);
      Vec mark = L::unmarked();
#pragma GCC unroll 16
      for (std::uint32_t lane = 0; lane < stride; lane += lanes) mark = L::mark(mark, distances(p + lane), threshold);
      if (__builtin_expect(!L::marked(mark, threshold), 1)) continue;
      Word near = 0;
      for (std::uint32_t lane = 0; lane < stride; lane += lanes)
        near |= static_cast<Word>(L::below(distances(p + lane), threshold)) << lane;
      collect_entries(runs, entry, near, hits);
      if (hits.threshold != known) threshold = L::splat(known = hits.threshold);
    }
    for (; entry < end; entry += lanes) {
      Word near = L::below(distances(runs.codes + entry), threshold);
      if (end - entry < lanes) near &= (Word{1} << (end - entry)) - 1;
      if (__builtin_expect(near == 0, 1)) continue;
      collect_entries(runs, entry, near, hits);
      if (hits.threshold != known) threshold = L::splat(known = hits.threshold);
    }
  }
}

// The same for longer codes: appends (row, distance).
template <class L>
void scan_rows(const Runs& runs, Hits& hits) {
  constexpr std::uint32_t batch = 128, ahead = 16;
  const std::uint32_t words = runs.words;
  // The table's own bits agree almost all, so another word tells more.
  const std::uint32_t first = (runs.groups[runs.table].word + 1) % words;
  const auto word = [&](std::uint32_t row, std::uint32_t w) {
    return runs.blocks + (static_cast<std::uint64_t>(row / rows_per_block) * words + w) * rows_per_block +
           row % rows_per_block;
  };
  std::uint32_t rows[batch + ahead], near[batch];
  std::uint32_t run = 0, entry = runs.n_runs ? runs.runs[0].begin : 0;
  while (run < runs.n_runs) {
    std::uint32_t n = 0;
    while (n < batch && run < runs.n_runs) {
      const std::uint32_t end = runs.runs[run].end;
      for (; n < batch && entry < end; ++entry) rows[n++] = runs.rows[entry];
      if (entry == end && ++run < runs.n_runs) entry = runs.runs[run].begin;
    }
    if (n == 0) return;
    // Each word of a row is a cache line of its own. The first word rules most rows out.
    for (std::uint32_t i = 0; i < ahead; ++i) rows[n + i] = rows[n - 1];
    for (std::uint32_t i = 0; i < ahead; ++i) __builtin_prefetch(word(rows[i], first));
    std::uint32_t n_near = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
      __builtin_prefetch(word(rows[i + ahead], first));
      const Word difference = *word(rows[i], first) ^ runs.query[first];
      near[n_near] = rows[i];
      n_near += static_cast<std::uint32_t>(__builtin_popcountll(difference)) < hits.threshold;
    }
    for (std::uint32_t i = 0; i < n_near; ++i)
      for (std::uint32_t w = 0; w < words && w < 8; ++w) __builtin_prefetch(word(near[i], w));
    for (std::uint32_t i = 0; i < n_near; ++i) {
      const std::uint32_t row = near[i];
      std::uint32_t distance = 0;
      for (std::uint32_t w = 0; w < words && distance < hits.threshold; ++w)
        distance += static_cast<std::uint32_t>(__builtin_popcountll(*word(row, w) ^ runs.query[w]));
      if (distance >= hits.threshold) continue;
      if (shown_before(runs, [&](std::uint32_t w) { return *word(row, w) ^ runs.query[w]; })) continue;
      hits.rows[hits.count] = row;
      hits.distances[hits.count] = static_cast<std::uint16_t>(distance);
      if (++hits.count >= hits.full) hits.tighten(&hits);
    }
  }
}

// Codes of one word or of more.
template <class L>
void contiguous(const Runs& runs, Hits& hits) {
  if (runs.words == 1)
    scan_runs<L>(runs, hits);
  else
    scan_rows<L>(runs, hits);
}

}  // namespace
}  // namespace simskip::kernels
