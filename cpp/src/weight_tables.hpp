// One query of an asymmetric search as tables: exact ones, and coarse ones whose sums are lower bounds.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"
#include "simskip/codes.hpp"

namespace simskip {

// entry[b][v]: the summed weights of the bits of byte b in which v differs from the query. 8 KiB per 64 bits.
class WeightTables {
 public:
  WeightTables(const float* outputs, int n_bits) : entry_(words_per_code(n_bits) * 8) {
    for (std::size_t b = 0; b < entry_.size(); ++b) {
      std::array<float, 256>& entry = entry_[b];
      entry[0] = 0.0f;
      // Bit i doubles the table of the bits below it, so every entry is added up in the order of its bits.
      for (std::size_t i = 0; i < 8; ++i) {
        const std::size_t bit = b * 8 + i, half = std::size_t{1} << i;
        const float output = bit < static_cast<std::size_t>(n_bits) ? outputs[bit] : 0.0f;
        const float when_one = output > 0 ? 0.0f : std::fabs(output), when_zero = output > 0 ? output : 0.0f;
        for (std::size_t v = 0; v < half; ++v) {
          entry[v + half] = entry[v] + when_one;
          entry[v] += when_zero;
        }
      }
    }
  }

  static std::size_t nbytes(int n_bits) { return words_per_code(n_bits) * 8 * sizeof(std::array<float, 256>); }

  const std::array<float, 256>& operator[](std::size_t byte) const { return entry_[byte]; }

  // The distance of a row, a sum in byte order. words: its word 0 in CodeBlocks.
  float distance(const std::uint64_t* words) const {
    float sum = 0.0f;
    for (std::size_t b = 0; b < entry_.size(); ++b)
      sum += entry_[b][words[b / 8 * kernels::rows_per_block] >> (8 * (b % 8)) & 0xFF];
    return sum;
  }

 private:
  std::vector<std::array<float, 256>> entry_;
};

// The same weights per nibble, as whole multiples of a unit, rounded down: a row is nearer than the threshold only if
// the sum of its entries is at most limit().
//
// Proof: let e be a row's entries (exact), s > 0 the factor 1 / unit. The distance d that WeightTables gives is a float
// sum of non-negative numbers with at most n_bits + 8 additions, so sum(e) <= d (1 + slack), slack twice the bound of
// its relative error (Higham, Accuracy and Stability of Numerical Algorithms, 2002, (4.4)). Hence d <= threshold gives
// sum(floor(s e)) <= floor(s threshold (1 + slack)), and saturated entries or sums are smaller still. The other half
// of slack covers the roundings of this computation, which is in double.
class NibbleTables {
 public:
  NibbleTables(const float* outputs, int n_bits) : entry_(words_per_code(n_bits) * kernels::nibbles_per_word) {
    slack_ = (n_bits + 8) * 0x1p-23;
    double sum = 0.0, largest = 0.0;
    for (std::size_t j = 0; j < entry_.size(); ++j) {
      std::array<double, 16>& entry = entry_[j];
      entry[0] = 0.0;
      double total = 0.0;
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t bit = j * 4 + i, half = std::size_t{1} << i;
        const double output = bit < static_cast<std::size_t>(n_bits) ? outputs[bit] : 0.0f;
        const double when_one = std::max(0.0, -output), when_zero = std::max(0.0, output);
        for (std::size_t v = 0; v < half; ++v) {
          entry[v + half] = entry[v] + when_one;
          entry[v] += when_zero;
        }
        total += std::fabs(output);
      }
      sum += total;
      largest = std::max(largest, total);
    }
    wide_ = words_per_code(n_bits) > kernels::narrow_words;
    // Of a few outstanding bits little is lost if their entries saturate; much of all others if they do not.
    widest_ = std::min(largest, 4.0 * sum / n_bits * 2.0);
    quantised_.resize(entry_.size() * 16);
  }

  // Codes of few words are worth a table for each threshold, scaled such that the limit is the largest byte that is
  // not saturated; but a threshold a little lower is served by a lower limit.
  void set_threshold(float threshold) {
    const double bound = threshold * (1.0 + slack_);
    if (wide_) {
      if (scale_ == 0.0) quantise(kernels::wide_entry / widest_, kernels::wide_entry);
      limit_ = static_cast<std::uint32_t>(std::min(bound * scale_, 65535.0));
      return;
    }
    if (scale_ == 0.0 || bound * scale_ < coarsest) quantise(finest / bound, 255);
    limit_ = static_cast<std::uint32_t>(std::min(bound * scale_, finest));
  }

  // The next threshold may be higher than the last one.
  void forget_threshold() {
    if (!wide_) scale_ = 0.0;
  }

  const std::uint8_t* data() const { return quantised_.data(); }
  std::uint32_t limit() const { return limit_; }

 private:
  static constexpr double finest = 254.0, coarsest = 200.0;

  void quantise(double scale, double largest) {
    scale_ = scale;
    for (std::size_t j = 0; j < entry_.size(); ++j)
      for (std::size_t v = 0; v < 16; ++v)
        quantised_[j * 16 + v] = static_cast<std::uint8_t>(std::min(entry_[j][v] * scale, largest));
  }

  std::vector<std::array<double, 16>> entry_;
  std::vector<std::uint8_t> quantised_;
  double slack_, widest_, scale_ = 0.0;
  std::uint32_t limit_ = 0;
  bool wide_;
};

}  // namespace simskip
