// Distances of candidates that an index names, once for all instruction sets. `Lanes` as in scan.hpp.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "scan.hpp"

namespace simskip::kernels {
namespace {

template <class L>
std::uint32_t near_in_runs(const Runs& runs, Word query, std::uint32_t threshold, std::uint32_t* places,
                           std::uint16_t* distances) {
  const typename L::Vec wanted = L::splat(query), limit = L::splat(threshold);
  std::uint32_t found = 0;
  for (std::uint32_t r = 0; r < runs.n; ++r) {
    const std::uint32_t begin = runs.begin[r], end = runs.end[r];
    // Whole aligned registers: what stands before and after the run is masked.
    for (std::uint32_t p = begin / L::lanes * L::lanes; p < end; p += L::lanes) {
      const typename L::Vec distance = L::total(L::count(L::differ(L::load(runs.codes + p), wanted)));
      std::uint32_t near = L::below(distance, limit);
      if (p < begin) near = near >> (begin - p) << (begin - p);
      if (end - p < static_cast<std::uint32_t>(L::lanes)) near &= (1u << (end - p)) - 1;
      if (!near) continue;
      alignas(64) Word values[L::lanes];
      L::store(values, distance);
      for (; near; near &= near - 1) {
        const int lane = __builtin_ctz(near);
        places[found] = p + lane;
        distances[found++] = static_cast<std::uint16_t>(values[lane]);
      }
    }
  }
  return found;
}

// Not a template of `Lanes`, but compiled per instruction set all the same: some count a word in one instruction.
inline std::uint32_t near_in_rows(const Word* blocks, std::uint32_t words, const std::uint32_t* rows, std::uint32_t n,
                                  const Word* query, std::uint32_t threshold, std::uint32_t* places,
                                  std::uint16_t* distances) {
  constexpr std::uint32_t ahead = 16;
  const auto code = [&](std::uint32_t row) {
    return blocks + (static_cast<std::uint64_t>(row) / rows_per_block * words) * rows_per_block + row % rows_per_block;
  };
  std::uint32_t found = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (i + ahead < n) {
      const Word* next = code(rows[i + ahead]);
      for (std::uint32_t w = 0; w < words && w < 4; ++w) __builtin_prefetch(next + w * rows_per_block);
    }
    const Word* p = code(rows[i]);
    std::uint32_t distance = 0;
    for (std::uint32_t w = 0; w < words && distance < threshold; ++w)
      distance += static_cast<std::uint32_t>(__builtin_popcountll(p[w * rows_per_block] ^ query[w]));
    if (distance >= threshold) continue;
    places[found] = i;
    distances[found++] = static_cast<std::uint16_t>(distance);
  }
  return found;
}

}  // namespace
}  // namespace simskip::kernels
