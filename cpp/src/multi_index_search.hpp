// One thread's searches of a MultiIndex: the rounds, and what they found.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"
#include "simskip/multi_index.hpp"

namespace simskip {

// The cost model, in nanoseconds on a processor of 2022. Only their ratios matter, and those only for the choice
// between two ways to the same answer.
inline constexpr double value_ns = 6.0;             // to look up a value: two cache lines, most of them asked for ahead
inline constexpr double row_ns = 0.6;               // to compare a row of a one-word table ...
inline constexpr double gathered_row_ns = 12.0;     // ... and one whose code stands elsewhere
inline constexpr double scan_ns_per_word = 0.028;   // a scan for many queries ...
inline constexpr double lone_scan_ns_per_word = 0.065;  // ... and for a few
inline constexpr double table_ns_per_row = 40.0;    // to build a table

// The bits [first, first + n) of a code, n < 32, as a number.
class Substring {
 public:
  Substring(int first_bit, int n_bits)
      : word_(first_bit / 64), shift_(first_bit % 64), straddles_(shift_ + n_bits > 64), mask_((1u << n_bits) - 1) {}

  // Word w of the code is words[w * stride].
  std::uint32_t operator()(const std::uint64_t* words, std::size_t stride) const {
    std::uint64_t bits = words[word_ * stride] >> shift_;
    if (straddles_) bits |= words[(word_ + 1) * stride] << (64 - shift_);
    return static_cast<std::uint32_t>(bits) & mask_;
  }

 private:
  std::size_t word_;
  int shift_;
  bool straddles_;
  std::uint32_t mask_;
};

class MultiIndexSearch {
 public:
  MultiIndexSearch(const MultiIndex& index, const CodeBlocks& codes, const SearchOptions& options,
                   std::size_t n_queries, bool always);

  // Finds the k nearest rows (SIZE_MAX: all within options.max_distance). False: a scan is cheaper.
  bool run(const std::uint8_t* query, std::size_t k);
  // After run(): how many were found, and they themselves, ordered by (distance, row).
  std::size_t count() const { return found_.size(); }
  void write(std::int32_t* distances, std::int64_t* ids) const;

  // Since construction.
  std::uint64_t values() const { return values_; }
  std::uint64_t rows_seen() const { return rows_seen_; }

 private:
  static constexpr std::uint32_t step_values = 64;
  static constexpr std::uint32_t kernel_rows = 2048;

  // Some of the values of one round.
  struct Step {
    int s = 0;
    std::size_t j = 0;
    std::uint32_t begin = 0, n = 0;  // of masks(...)[s]
    bool ends_round = false;
  };
  // Where the rows of a step's values stand in the table.
  struct Runs {
    std::uint32_t n = 0;
    std::array<std::uint32_t, step_values> begin, end;
  };

  bool next(Step& step);             // false: there are no more values, or too many
  void ask_for(const Step& step);    // prefetches the places of its values' rows
  void locate(const Step& step, Runs& runs);
  bool look_at(const Step& step, const Runs& runs);  // false: a scan is cheaper
  void compare(const Step& step, const kernels::Runs& runs);
  void keep(std::uint64_t row, std::uint32_t distance);
  void keep_k();
  // Whether another table or an earlier round has seen the row that differs from the query like this.
  bool seen_before(const Step& step, const std::uint64_t* difference) const;
  // Of the rounds after (s, j) up to the first that covers `distance`.
  double cost_to_cover(int s, std::size_t j, std::uint32_t distance) const;
  double round_cost(int s, std::size_t j) const;
  bool stop_asked();

  const MultiIndex& index_;
  const CodeBlocks& codes_;
  const SearchOptions& options_;
  const std::size_t m_;
  const double row_cost_;
  double budget_;
  std::vector<Substring> substrings_;

  std::vector<std::uint64_t> query_;
  std::vector<std::uint32_t> query_values_;
  std::vector<std::uint64_t> difference_;
  Step upcoming_;
  std::size_t k_ = 0;
  std::vector<std::uint64_t> found_;        // distance << 32 | row
  std::vector<std::uint32_t> histogram_;    // of their distances up to threshold_
  std::size_t within_ = 0;                  // how many those are
  std::uint32_t threshold_ = 0;             // farther rows are not wanted ...
  std::uint64_t last_ = 0;                  // ... nor this one of found_'s kind, nor what comes after it
  double spent_ = 0;
  std::uint64_t values_ = 0, rows_seen_ = 0;
  std::uint32_t looks_ = 0;
  std::vector<std::uint32_t> places_;
  std::vector<std::uint16_t> distances_;
};

}  // namespace simskip
