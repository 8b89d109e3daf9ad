// Exact Hamming search over CodeBlocks by scanning them.
//
// Hits are ordered by (distance, row), whatever the instruction set, the number of threads and the way the work is
// split: over queries when there are many, over the database when there are few. Concurrent calls are safe.
// Cost: n_queries * n * words word operations; per query 6 bytes for each of about 1.25 k + 128 kept rows. Batches of
// 16 and more queries guess thresholds from a sample of at most 65,536 rows, which is copied, and scan a second time
// for the few that were guessed too low.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simskip/code_blocks.hpp"
#include "simskip/interrupt.hpp"

namespace simskip {

inline constexpr std::int32_t no_distance = 0x7FFFFFFF;  // fills slots for which there is no row ...
inline constexpr std::int64_t no_id = -1;                // ... together with this

struct SearchOptions {
  int max_distance = max_distance_any;     // farther rows are not hits
  const std::uint64_t* allowed = nullptr;  // a bit per row (64 per word), or null: every row
  int threads = 0;                         // < 1: the process's default
  Interrupt* interrupt = nullptr;          // polled at least every few milliseconds

  static constexpr int max_distance_any = 0x7FFE;
};

// (n_queries, k) row-major.
struct Neighbors {
  std::vector<std::int32_t> distances;
  std::vector<std::int64_t> ids;
};

// Query q's hits are entries limits[q] to limits[q + 1].
struct Range {
  std::vector<std::int64_t> limits;
  std::vector<std::int32_t> distances;
  std::vector<std::int64_t> ids;
};

// queries: (n_queries, bytes_per_code(n_bits)) packed. k >= 1. Ids are rows.
// Throws Interrupted, std::bad_alloc.
Neighbors top_k(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                const SearchOptions& options);

// All rows at distance <= options.max_distance.
Range range(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, const SearchOptions& options);

}  // namespace simskip
