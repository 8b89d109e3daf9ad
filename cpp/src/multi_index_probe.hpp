// Answering queries from the tables of a multi-index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "multi_index_found.hpp"
#include "multi_index_plan.hpp"
#include "multi_index_table.hpp"
#include "simskip/code_blocks.hpp"
#include "simskip/interrupt.hpp"
#include "simskip/multi_index.hpp"

namespace simskip {

// All numbers of up to `bits` bits with few ones, by the number of ones, ascending.
class Patterns {
 public:
  explicit Patterns(int bits);
  // Null if there are so many that they are not kept. Those below 2^b come first, for each b.
  const std::uint32_t* of_weight(int weight) const {
    return static_cast<std::size_t>(weight) < lists_.size() ? lists_[static_cast<std::size_t>(weight)].data() : nullptr;
  }
  std::size_t nbytes() const;
  // The next larger number with as many ones (Warren, Hacker's Delight, 2-1). pattern > 0.
  static std::uint64_t next(std::uint64_t pattern) {
    const std::uint64_t lowest = pattern & (~pattern + 1), carried = pattern + lowest;
    return carried | ((carried ^ pattern) >> 2) / lowest;
  }

 private:
  std::vector<std::vector<std::uint32_t>> lists_;
};

struct MultiIndex::State {
  State(const CodeBlocks& codes, int threads, Interrupt* interrupt);

  std::size_t n, words;
  int n_bits;
  std::vector<Substring> substrings;
  std::vector<kernels::BitGroup> groups;  // theirs
  Schedule schedule;
  Patterns patterns;
  std::vector<BucketTable> tables;
};

// What a search does with each query, in one thread.
struct ProbeTask {
  std::size_t k;           // FoundRows::everything: all within `farthest`
  std::uint32_t farthest;  // rows at larger distances are not wanted
  double scan_cost;        // of one query; infinity: never give up
  double free_trial;       // what may be spent before a query's prospects are judged
  int expected_farthest;   // the k-th distance to expect before anything was found
  const std::uint64_t* allowed;
  Interrupt* interrupt;
};

// Answers queries [first, last); queries are words, `words` of them each. done(query, hits) is called for each with
// its hits as distance << 32 | row in order; queries that are better scanned for are appended to `left` instead.
// Several queries are in work at once: while one waits for memory, the others go on.
void probe(const MultiIndex::State& index, const CodeBlocks& codes, const std::uint64_t* queries, std::size_t first,
           std::size_t last, const ProbeTask& task,
           const std::function<void(std::size_t, const std::vector<std::uint64_t>&)>& done,
           std::vector<std::size_t>& left, SearchStats& stats);

}  // namespace simskip
