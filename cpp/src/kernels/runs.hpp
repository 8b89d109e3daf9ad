// The border to the kernels that look at buckets of a multi-index (see kernels.hpp for what may stand here).
#pragma once

#include <cstdint>

namespace simskip::kernels {

// Entries [begin, end) of a table.
struct Run {
  std::uint32_t begin, end;
};

// A group of a code's bits: those of `mask` in word `word`.
struct BitGroup {
  std::uint64_t mask;
  std::uint32_t word;
};

// Entries of one table that are to be compared with one query.
//
// A row that another table has shown already must not be shown again. Group g's table has shown the rows that differ
// from the query in at most reached[g] of its bits (-1: none).
struct Runs {
  const Run* runs;
  std::uint32_t n_runs;
  std::uint32_t table;  // whose entries these are: its own group is not asked
  const BitGroup* groups;
  const std::int32_t* reached;
  std::uint32_t n_groups;
  const std::uint64_t* query;
  const std::uint64_t* codes;   // codes of one word: entry i's code; at least 8 words lie behind the last
  const std::uint32_t* rows;    // longer codes: entry i's row, whose words are in ...
  const std::uint64_t* blocks;  // ... these blocks (see kernels.hpp)
  std::uint32_t words;          // per code
};

}  // namespace simskip::kernels
