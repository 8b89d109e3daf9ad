// How a multi-index cuts codes into substrings, in which order their buckets are looked at, and what that costs.
//
// Nothing here changes an answer, only the time until it is there. Costs are nanoseconds of a model whose constants
// were measured once (see the .cpp): no clock is read, so the same data and queries always take the same way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/runs.hpp"
#include "simskip/code_blocks.hpp"

namespace simskip {

// Bits of one word whose values number the buckets of a table.
class Substring {
 public:
  Substring(std::uint32_t word, std::uint64_t mask);

  std::uint32_t word() const { return group_.word; }
  const kernels::BitGroup& group() const { return group_; }
  int bits() const { return bits_; }
  std::size_t buckets() const { return std::size_t{1} << bits_; }

  // The masked bits of `word`, pushed together in order.
  std::uint32_t key(std::uint64_t word) const {
    if (contiguous_) return static_cast<std::uint32_t>((word & group_.mask) >> shift_);
    word &= group_.mask;
    for (int step = 0; step < 6; ++step) {
      const std::uint64_t moving = word & moves_[step];
      word = (word ^ moving) | (moving >> (1 << step));
    }
    return static_cast<std::uint32_t>(word);
  }

 private:
  kernels::BitGroup group_;
  int bits_;
  int shift_;
  bool contiguous_;
  std::array<std::uint64_t, 6> moves_{};
};

// Disjoint groups of at most log2(n) + 1 bits that together hold all n_bits.
std::vector<Substring> cut_into_substrings(int n_bits, std::size_t n);

// The buckets of one table whose number differs from the query's in `weight` bits.
struct Unit {
  std::uint32_t table;
  int weight;
  std::size_t buckets;
  double cost;
};

// All units, each table's in ascending weight, the cheap ones first. Once units 0 to t are done, every code at
// distance <= t has been seen (the proof is in multi_index.hpp), whatever their order; so this order is the best.
class Schedule {
 public:
  Schedule() = default;
  Schedule(const std::vector<Substring>& substrings, std::size_t n, std::size_t words);

  std::size_t size() const { return units_.size(); }
  const Unit& operator[](std::size_t t) const { return units_[t]; }
  // Of units 0 to t - 1.
  double cost_before(std::size_t t) const { return before_[t]; }

 private:
  std::vector<Unit> units_;
  std::vector<double> before_;
};

// Of looking at buckets and at codes in them.
double probe_cost(double buckets, double codes, std::size_t words);
// Of a scan, per query of `n_queries` that share it.
double scan_cost(std::size_t n, std::size_t words, std::size_t n_queries);
// Of making the tables, in all threads together.
double build_cost(std::size_t n, std::size_t words, std::size_t n_substrings);

// The smallest distance within which n uniformly random codes have at least k on average: nearly any real query has
// its k nearest closer by. n_bits if there is none.
int uniform_distance(std::size_t n, int n_bits, std::size_t k);

}  // namespace simskip
