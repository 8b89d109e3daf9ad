// One table of a multi-index: the rows in the order of one substring's value.
#pragma once

#include <cstddef>
#include <cstdint>

#include "huge_array.hpp"
#include "multi_index_plan.hpp"
#include "simskip/code_blocks.hpp"
#include "simskip/interrupt.hpp"

namespace simskip {

// Bucket b is entries [offsets[b], offsets[b + 1]), in ascending row order. Four bytes per bucket and entry, and
// eight more per entry for codes of one word.
struct BucketTable {
  HugeArray<std::uint32_t> offsets;
  HugeArray<std::uint32_t> rows;
  HugeArray<std::uint64_t> codes;  // of one word, next to each other: a bucket is read without a jump per code

  std::size_t nbytes() const { return offsets.nbytes() + rows.nbytes() + codes.nbytes(); }
};

// Sorts the rows by the substring in two stable passes: by the key's upper half into parts that fit into a cache,
// then each part by the rest. O(n) time; while it runs, another 12 (8) bytes per row.
// Throws Interrupted, std::bad_alloc.
BucketTable build_table(const CodeBlocks& codes, const Substring& substring, int threads, Interrupt* interrupt);

}  // namespace simskip
