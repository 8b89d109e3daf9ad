// The border between the core and the per-instruction-set files. Those are compiled with -m flags, so this
// header (and everything they include) holds no code that the linker could share: plain structs and pointers.
#pragma once

#include <cstdint>

namespace simskip::kernels {

// One query's nearest rows so far, in a buffer that the caller owns.
struct Hits {
  std::uint32_t* rows = nullptr;
  std::uint16_t* distances = nullptr;
  std::uint32_t count = 0;
  std::uint32_t threshold = 0;             // only distances below it are wanted
  std::uint32_t full = 0;                  // at this count `tighten` is called; rows_per_step slots lie behind it
  const std::uint64_t* allowed = nullptr;  // a bit per row, or null: every row
  void (*tighten)(Hits*) = nullptr;        // makes room: drops rows, lowers the threshold, or grows the buffer
};

// Rows stand in blocks of 8, word-planar: word w of row i is blocks[(i / 8 * words + w) * 8 + i % 8].
inline constexpr std::uint32_t rows_per_block = 8;
// Storage is padded to a multiple of this, and no step of a scan looks at more rows at once.
inline constexpr std::uint32_t rows_per_step = 64;

struct Scan {
  const std::uint64_t* blocks;  // 64-byte aligned
  std::uint32_t words;          // per code
  std::uint32_t begin, end;     // rows; multiples of rows_per_step
  std::uint32_t n_rows;         // rows from here on are padding
};

// Codes as nibble planes: 64 rows are a group; nibble j of word w of a group's rows stands in 64 bytes, so
// planes[((g * words + w) * 16 + j) * 64 + 8 * (i % 8) + i / 8] is that nibble of row 64 * g + i.
inline constexpr std::uint32_t rows_per_group = 64;
inline constexpr std::uint32_t nibbles_per_word = 16;
struct Nibbles {
  const std::uint8_t* planes;  // 64-byte aligned
  std::uint32_t words;         // per code
  std::uint32_t groups;        // at most 64
};
// Codes up to this length are added up in bytes that saturate; longer ones, with entries up to wide_entry, in 16 bits,
// which suffice for 64 words: 64 * 16 * wide_entry < 2^16.
inline constexpr std::uint32_t narrow_words = 2;
inline constexpr std::uint32_t wide_entry = 63;

struct Runs;  // runs.hpp

struct Kernels {
  const char* isa;
  // Appends to hits[q] every row nearer to queries[q] than hits[q]->threshold, in ascending row order.
  void (*scan)(const Scan& scan, const std::uint64_t* const* queries, Hits* const* hits, std::uint32_t n_queries);
  // The same, faster for many queries (see sliced.hpp); from about 16 on it pays.
  void (*scan_many)(const Scan& scan, const std::uint64_t* const* queries, Hits* const* hits, std::uint32_t n_queries);
  // Appends the entries of a multi-index's buckets that are near and that no other table has shown.
  void (*scan_runs)(const Runs& runs, Hits& hits);
  // Sums in double over 16 interleaved partial sums, always added up in the same order: every instruction set
  // returns the same bits. (A product of two floats is exact in double, so fused and separate adds agree.)
  double (*dot)(const float* a, const float* b, std::uint32_t dim);
  double (*squared_l2)(const float* a, const float* b, std::uint32_t dim);
  // Rows [begin, end), multiples of rows_per_group, as nibble planes. Null, as the next: not on this instruction set.
  void (*split_nibbles)(const Scan& scan, std::uint8_t* planes);
  // tables: 16 bytes per nibble. A bit of masks[g] is set if the sum of the row's entries is <= limit; bit 8 * l + b
  // stands for row 8 * b + l of the group. Returns a bit per group: some row is near.
  std::uint64_t (*near_nibbles)(const Nibbles& nibbles, const std::uint8_t* tables, std::uint32_t limit,
                                std::uint64_t* masks);
};

// A kernel set and whether this processor (and its operating system) runs it.
struct Candidate {
  const Kernels* kernels;
  bool (*runs_here)();
};
struct Candidates {
  const Candidate* first;
  const Candidate* last;
  const Candidate* begin() const { return first; }
  const Candidate* end() const { return last; }
};
// All that were compiled in, best first, the baseline last.
Candidates compiled();

// The set that serves calls now (see isa.hpp).
const Kernels& in_use();

}  // namespace simskip::kernels
