// The border between the core and the per-instruction-set files. Those are compiled with -m flags, so this
// header (and everything they include) holds no code: plain structs, pointers and integers.
#pragma once

#include <cstdint>

namespace simskip::kernels {

// One query's nearest rows so far, in a buffer owned by the caller.
struct Hits {
  std::uint32_t* rows;
  std::uint16_t* distances;
  std::uint32_t count;
  std::uint32_t threshold;         // only distances below it are wanted
  std::uint32_t full;              // at this count `tighten` is called; hits_per_step slots lie behind it
  const std::uint64_t* allowed;    // bit per row, or null: every row
  void (*tighten)(Hits*);          // drops what cannot be among the nearest, lowers `threshold`
};

// Most rows that one step of a scan can append to a Hits.
inline constexpr std::uint32_t hits_per_step = 64;

// Rows stand in blocks of 8, word-planar: word w of row i is blocks[(i / 8 * words + w) * 8 + i % 8].
inline constexpr std::uint32_t rows_per_block = 8;

struct Scan {
  const std::uint64_t* blocks;  // 64-byte aligned
  std::uint32_t words;          // per code
  std::uint32_t begin, end;     // rows, multiples of 64 (blocks are padded up to there)
  std::uint32_t n_rows;         // rows from here on are padding
};

struct Kernels {
  const char* isa;
  bool (*runs_here)();
  // Appends to hits[q] every row of the scan nearer to queries[q] than hits[q]->threshold, in row order.
  void (*scan)(const Scan& scan, const std::uint64_t* const* queries, Hits* const* hits, std::uint32_t n_queries);
};

// All that were compiled in, best first, the baseline last.
struct Compiled {
  const Kernels* const* first;
  const Kernels* const* last;
  const Kernels* const* begin() const { return first; }
  const Kernels* const* end() const { return last; }
};
Compiled compiled();

// The one that serves searches (see isa.hpp).
const Kernels& in_use();

}  // namespace simskip::kernels
