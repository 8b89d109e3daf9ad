// Groups of codes that are the same or nearly so: connected components of "at distance <= radius".
//
// Equal codes are joined first by sorting, so that only distinct codes are compared: each pair once. Memory: 12 bytes
// per row and a copy of the distinct codes, whatever the number of pairs. Cost: O(n log n) and half a scan per
// distinct code. Concurrent calls are safe.
#pragma once

#include <cstdint>
#include <vector>

#include "simskip/code_blocks.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

// For every row the lowest row of its group (its own number if it is alone). Rows that options.allowed leaves out are
// alone. The radius is options.max_distance, inclusive. Throws Interrupted, std::bad_alloc.
std::vector<std::uint32_t> duplicate_groups(const CodeBlocks& codes, const SearchOptions& options);

}  // namespace simskip
