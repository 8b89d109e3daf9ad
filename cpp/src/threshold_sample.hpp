// Thresholds guessed from a sample of the database, so that a scan collects little more than it returns.
//
// A scan that starts with no threshold collects about k * log(n / k) rows on the way to its last one; with K = 100 or a
// small database that costs more than the scan itself. Here the distances of S of the n rows are looked at first: if k
// rows of the database are nearer than some distance, about lambda = k * S / n of the sample are, and hardly ever more
// than rank(lambda). The distance of the sample's row of that rank is therefore a threshold that k rows stay below, in
// all but some of a thousand cases. The caller counts, and scans again where it was wrong: a guess costs time only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simskip/code_blocks.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

class ThresholdSample {
 public:
  // For the k nearest of `codes` to each of n_queries queries. Copies at most 64 rows per query.
  ThresholdSample(const CodeBlocks& codes, std::size_t k, std::size_t n_queries, const SearchOptions& options);

  // The rows it looks at, evenly spread over those that pass the filter. None where a sample would not pay.
  static std::vector<std::uint32_t> choose_rows(const CodeBlocks& codes, std::size_t k, std::size_t n_queries,
                                                const SearchOptions& options);

  bool empty() const { return sample_.size() == 0; }

  // Lowers thresholds[q] to the guess for queries[q]. Thread-safe.
  void lower(const std::uint64_t* const* queries, std::uint32_t* thresholds, std::size_t n) const;

 private:
  CodeBlocks sample_;
  std::size_t wanted_ = 0;  // rank(lambda)
};

}  // namespace simskip
