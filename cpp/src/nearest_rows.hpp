// What a scan keeps of one query: the buffers behind kernels::Hits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"

namespace simskip {

// The k nearest of the rows seen so far, plus some that a later look will drop. Rows must come in ascending order:
// then a row at the distance of the k-th one can no longer enter, and the threshold may be strict.
class NearestRows : public kernels::Hits {
 public:
  // `histogram` has n_bits + 1 zeros and may be shared by queries of one thread.
  NearestRows(std::size_t k, std::uint32_t first_threshold, const std::uint64_t* allowed_rows,
              std::vector<std::uint32_t>& histogram)
      : k_(static_cast<std::uint32_t>(k)),
        row_buffer_(capacity(k)),
        distance_buffer_(capacity(k)),
        histogram_(&histogram) {
    rows = row_buffer_.data();
    distances = distance_buffer_.data();
    threshold = first_threshold;
    full = static_cast<std::uint32_t>(capacity(k)) - kernels::rows_per_step;
    allowed = allowed_rows;
    tighten = [](kernels::Hits* hits) { static_cast<NearestRows*>(hits)->keep_k(); };
  }
  NearestRows(NearestRows&&) = default;  // moves keep the buffers, so the pointers stay right
  NearestRows(const NearestRows&) = delete;

  static std::size_t capacity(std::size_t k) { return k + std::max<std::size_t>(64, k / 4) + kernels::rows_per_step; }
  static std::size_t nbytes(std::size_t k) { return capacity(k) * (sizeof(std::uint32_t) + sizeof(std::uint16_t)); }

  // Drops all but the k nearest and accepts only what is nearer than the farthest of them. Distances are small
  // integers, so counting them finds the k-th one without sorting.
  void keep_k() {
    if (count < k_ || (count == k_ && tight_)) return;
    tight_ = true;
    std::vector<std::uint32_t>& histogram = *histogram_;
    for (std::uint32_t i = 0; i < count; ++i) ++histogram[distances[i]];
    std::uint32_t nearer = 0, last = 0;
    while (nearer + histogram[last] < k_) nearer += histogram[last++];
    for (std::uint32_t i = 0; i < count; ++i) histogram[distances[i]] = 0;
    std::uint32_t ties = k_ - nearer, kept = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint16_t d = distances[i];
      if (d > last || (d == last && ties == 0)) continue;
      if (d == last) --ties;
      rows[kept] = rows[i];
      distances[kept++] = d;
    }
    count = kept;
    threshold = last;
  }

 private:
  std::uint32_t k_;
  bool tight_ = false;  // there were k rows once; since then `count` grows with every new one
  std::vector<std::uint32_t> row_buffer_;
  std::vector<std::uint16_t> distance_buffer_;
  std::vector<std::uint32_t>* histogram_;
};

// All rows nearer than a fixed threshold: the buffer grows.
class RowsWithin : public kernels::Hits {
 public:
  RowsWithin(std::uint32_t fixed_threshold, const std::uint64_t* allowed_rows)
      : row_buffer_(first_size), distance_buffer_(first_size) {
    threshold = fixed_threshold;
    allowed = allowed_rows;
    tighten = [](kernels::Hits* hits) { static_cast<RowsWithin*>(hits)->grow(); };
    use_buffers();
  }
  RowsWithin(RowsWithin&&) = default;
  RowsWithin(const RowsWithin&) = delete;

  // Set when memory ran out: what was found since is gone (an exception may not cross the kernel or OpenMP).
  bool failed() const { return failed_; }

 private:
  void grow() noexcept {
    try {
      distance_buffer_.resize(distance_buffer_.size() * 2);
      row_buffer_.resize(distance_buffer_.size());
    } catch (...) {
      failed_ = true;
      count = 0;
    }
    use_buffers();
  }

  void use_buffers() {
    rows = row_buffer_.data();
    distances = distance_buffer_.data();
    full = static_cast<std::uint32_t>(row_buffer_.size()) - kernels::rows_per_step;
  }

  static constexpr std::size_t first_size = 256;
  std::vector<std::uint32_t> row_buffer_;
  std::vector<std::uint16_t> distance_buffer_;
  bool failed_ = false;
};

}  // namespace simskip
