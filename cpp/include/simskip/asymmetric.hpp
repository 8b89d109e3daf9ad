// Asymmetric scoring: the query keeps its real outputs, the database its bits.
//
// The distance of a code is the sum of |output_i| over the bits i that differ from the query's own bits
// (output_i > 0): a Hamming distance in which unsure bits weigh little. It ranks codes as the inner product of the
// outputs with the code's signs does (Gordo, Perronnin, Gong, Lazebnik, PAMI 2014: "asymmetric distances").
//
// Most rows are dismissed by a lower bound: a sum of small integers, one per nibble, that a register looks up for up to
// 64 rows at once. Only what could be among the k nearest is scored in float.
#pragma once

#include <cstddef>

#include "simskip/code_blocks.hpp"
#include "simskip/float_top_k.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

// outputs: (n_queries, n_bits), finite. The k nearest rows by (distance, row); ids are rows. options.max_distance is
// ignored. A distance is a float sum of one table entry per byte of code, in byte order: the same for any number of
// threads and instruction set. Concurrent calls are safe. Cost: n_queries * n * nibbles look-ups of a byte, 16 to 64 in
// one instruction (baseline: n_queries * n * bytes look-ups of a float), plus those rows that beat the threshold so
// far, about k * log(n / k) per query. Memory per thread: 10 KiB per query and word of code, at most 16 MiB for more
// than one query, and 12 bytes for each of about 1.5 k rows. Throws Interrupted, std::bad_alloc.
FloatNeighbors asymmetric_top_k(const CodeBlocks& codes, const float* outputs, std::size_t n_queries, std::size_t k,
                                const SearchOptions& options);

}  // namespace simskip
