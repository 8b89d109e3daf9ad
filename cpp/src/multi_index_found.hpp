// What probing keeps of one query: the buffers behind kernels::Hits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"

namespace simskip {

// Rows come in any order, so one at the distance of the k-th may still push it out: the threshold admits ties.
// Reused from query to query.
class FoundRows : public kernels::Hits {
 public:
  static constexpr std::size_t everything = ~std::size_t{0};  // for k

  // farthest: rows at larger distances are not wanted.
  FoundRows(int n_bits, std::size_t k, std::uint32_t farthest, const std::uint64_t* allowed_rows)
      : k_(k), first_farthest_(farthest), counts_(static_cast<std::size_t>(n_bits) + 1) {
    allowed = allowed_rows;
    tighten = [](kernels::Hits* hits) { static_cast<FoundRows*>(hits)->make_room(); };
    resize(first_size);
    restart();
  }
  FoundRows(FoundRows&&) = default;  // moves keep the buffers, so the pointers stay right
  FoundRows(const FoundRows&) = delete;

  void restart() {
    std::fill(counts_.begin(), counts_.end(), 0);
    count = counted_ = 0;
    within_ = 0;
    farthest_ = first_farthest_;
    threshold = farthest_ + 1;
    unresolved_.clear();
    make_full();
  }

  // What the kernel appends from now on are entries of this table of rows, or rows themselves (null).
  void expect(const std::uint32_t* rows_of_entries) { rows_of_entries_ = rows_of_entries; }

  // Looks at what the kernel appended: forgets rows that are not allowed, lowers the threshold.
  void absorb() {
    const std::uint32_t first = counted_;
    if (count == first) return;
    if (allowed) {
      std::uint32_t kept = first;
      for (std::uint32_t i = first; i < count; ++i) {
        const std::uint32_t row = rows_of_entries_ ? rows_of_entries_[rows[i]] : rows[i];
        if (!(allowed[row / 64] >> (row % 64) & 1)) continue;
        rows[kept] = row;
        distances[kept++] = distances[i];
      }
      count = kept;
    } else if (rows_of_entries_) {
      // Asked for now, read when more has been done: most will be dropped before that.
      for (std::uint32_t i = first; i < count; ++i) __builtin_prefetch(rows_of_entries_ + rows[i]);
      unresolved_.push_back({rows_of_entries_, first, count});
    }
    for (std::uint32_t i = first; i < count; ++i) {
      ++counts_[distances[i]];
      within_ += distances[i] <= farthest_;
    }
    counted_ = count;
    while (farthest_ > 0 && within_ - counts_[farthest_] >= k_) within_ -= counts_[farthest_--];
    threshold = farthest_ + 1;
  }

  // Once k rows have been found the distance of the k-th; before, the farthest one wanted.
  std::uint32_t farthest() const { return farthest_; }
  bool found_k() const { return within_ >= k_; }

  // The k first (or all) as distance << 32 | row, ascending.
  void sorted(std::vector<std::uint64_t>& hits) {
    absorb();
    resolve();
    hits.clear();
    for (std::uint32_t i = 0; i < count; ++i)
      if (distances[i] <= farthest_) hits.push_back(static_cast<std::uint64_t>(distances[i]) << 32 | rows[i]);
    if (hits.size() > k_) {
      std::nth_element(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(k_), hits.end());
      hits.resize(k_);
    }
    std::sort(hits.begin(), hits.end());
  }

  // Set when memory ran out: what was found since is gone (an exception may not cross the kernel or OpenMP).
  bool failed() const { return failed_; }

 private:
  struct Entries {
    const std::uint32_t* rows;
    std::uint32_t first, last;
  };

  void resolve() {
    for (const Entries& e : unresolved_)
      for (std::uint32_t i = e.first; i < e.last; ++i) rows[i] = e.rows[rows[i]];
    unresolved_.clear();
  }

  void make_room() noexcept {
    try {
      absorb();
      if (count + step > row_buffer_.size()) {
        resolve();
        drop_far();
        if (count > k_ && count + step > row_buffer_.size() / 2) drop_ties();
        counted_ = count;
        // Half empty afterwards, so that what was dropped pays for the dropping.
        if (count + step > row_buffer_.size() / 2) resize(row_buffer_.size() * 2);
      }
    } catch (...) {
      failed_ = true;
      count = counted_ = 0;
      unresolved_.clear();
    }
    make_full();
  }

  void drop_far() {
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (distances[i] > farthest_) continue;
      rows[kept] = rows[i];
      distances[kept++] = distances[i];
    }
    count = kept;
  }

  // Of the rows at the k-th distance those that are last in row order.
  void drop_ties() {
    std::vector<std::uint32_t> ties;
    for (std::uint32_t i = 0; i < count; ++i)
      if (distances[i] == farthest_) ties.push_back(rows[i]);
    const std::size_t room = k_ - (count - ties.size());
    if (room >= ties.size()) return;
    std::nth_element(ties.begin(), ties.begin() + static_cast<std::ptrdiff_t>(room), ties.end());
    const std::uint32_t too_late = ties[room];
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (distances[i] == farthest_ && rows[i] >= too_late) continue;
      rows[kept] = rows[i];
      distances[kept++] = distances[i];
    }
    count = kept;
    counts_[farthest_] = static_cast<std::uint32_t>(room);
    within_ = k_;
  }

  void make_full() {
    full = static_cast<std::uint32_t>(std::min<std::size_t>(row_buffer_.size(), std::size_t{count} + step));
  }

  void resize(std::size_t size) {
    distance_buffer_.resize(size);
    row_buffer_.resize(size);
    rows = row_buffer_.data();
    distances = distance_buffer_.data();
  }

  static constexpr std::size_t first_size = 512;
  static constexpr std::uint32_t step = 32;  // rows after which the threshold is looked at
  std::size_t k_;
  std::uint32_t first_farthest_;
  std::uint32_t farthest_ = 0;
  std::uint32_t counted_ = 0;          // of `count`, those that absorb() has seen
  std::size_t within_ = 0;             // rows at distances <= farthest_
  std::vector<std::uint32_t> counts_;  // by distance; past farthest_ not kept up
  std::vector<std::uint32_t> row_buffer_;
  std::vector<std::uint16_t> distance_buffer_;
  std::vector<Entries> unresolved_;
  const std::uint32_t* rows_of_entries_ = nullptr;
  bool failed_ = false;
};

}  // namespace simskip
