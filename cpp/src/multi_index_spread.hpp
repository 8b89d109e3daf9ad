// Which bits of a word share a substring, where bits say the same.
#pragma once

#include <vector>

#include "multi_index_plan.hpp"
#include "simskip/code_blocks.hpp"

namespace simskip {

// Substrings of the same words and widths whose bits are as independent as a sample of the codes allows; the same
// ones if that would gain little. Bits that always agree, or never change, make some buckets huge and the others
// empty; apart they do no harm. Where not all bits have a place the most dependent ones are left out.
std::vector<Substring> spread(std::vector<Substring> substrings, const CodeBlocks& codes);

}  // namespace simskip
