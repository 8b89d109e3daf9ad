// A run of codes in ascending order of their ids, some of which may be dead: what a HammingIndex is made of.
//
// Rows are only ever added at the end; removing marks them dead (a bit per row, allocated at the first removal).
// A sealed segment's codes and ids never change again, so that they can be read without a lock, by searches of
// somebody else's index structure or while one is built: only its marks may change. Codes in a mapped file are sealed.
// Ids that are first, first + 1, ... take no memory, others 8 bytes each.
// Not synchronised: any number of readers, or one writer. Sealing and attaching an index count as reading: they change
// nothing that searches find.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "simskip/code_blocks.hpp"
#include "simskip/multi_index.hpp"

namespace simskip {

class Segment {
 public:
  static constexpr std::size_t no_row = static_cast<std::size_t>(-1);

  // An empty one.
  explicit Segment(int n_bits) : codes_(n_bits) {}
  // ids: ascending, one per code; or none for 0, 1, ... Sealed if the codes are not owned.
  Segment(CodeBlocks codes, std::vector<std::int64_t> ids);

  const CodeBlocks& codes() const { return codes_; }
  std::size_t size() const { return codes_.size(); }  // rows, dead ones too
  std::size_t live() const { return codes_.size() - dead_; }
  std::size_t dead() const { return dead_; }
  // A bit per row (64 per word, as SearchOptions::allowed), set for the living; null if all live.
  const std::uint64_t* marks() const { return dead_ ? marks_.data() : nullptr; }
  bool is_live(std::size_t row) const { return !dead_ || (marks_[row / 64] >> (row % 64) & 1); }

  std::int64_t id_of(std::size_t row) const {
    return ids_.empty() ? first_ + static_cast<std::int64_t>(row) : ids_[row];
  }
  std::int64_t last_id() const { return id_of(size() - 1); }  // of a segment that is not empty
  // Explicit ids, or none if they are consecutive from first_id().
  const std::vector<std::int64_t>& ids() const { return ids_; }
  std::int64_t first_id() const { return ids_.empty() ? first_ : ids_.front(); }
  // The first row in [from, size()] whose id is >= `id`; O(log of how far that is).
  std::size_t lower_bound(std::int64_t id, std::size_t from = 0) const;
  // The living row of an id, or no_row. O(log size).
  std::size_t find(std::int64_t id) const;

  std::size_t nbytes_of_ids() const { return ids_.size() * sizeof(std::int64_t); }
  std::size_t nbytes_of_marks() const { return marks_.size() * sizeof(std::uint64_t); }

  bool sealed() const { return sealed_.load(); }
  void seal() const { sealed_.store(true); }

  // The index of a sealed segment's rows, dead ones too, or null.
  std::shared_ptr<const MultiIndex> index() const { return std::atomic_load(&index_); }
  void attach(std::shared_ptr<const MultiIndex> index) const { std::atomic_store(&index_, std::move(index)); }
  // What scans of it have cost since it was made, in nanoseconds by the model of multi_index.hpp: what an index would
  // have saved.
  double scan_cost() const { return static_cast<double>(scan_cost_.load()); }
  void scanned(double cost) const { scan_cost_ += static_cast<std::uint64_t>(cost); }
  void forget_scans() const { scan_cost_ = 0; }

  // Changes that cannot fail once there is room for them. What follows is undefined for a sealed segment, but for
  // reserve_marks and remove.
  void reserve(std::size_t n_more, const std::int64_t* ids);                                // ids: those to be appended
  void append(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) noexcept;  // ascending, past last_id
  void overwrite(std::size_t row, const std::uint8_t* code) noexcept { codes_.overwrite(row, code); }
  void reserve_marks();
  void remove(std::size_t row) noexcept;  // a living one, after reserve_marks()

 private:
  CodeBlocks codes_;
  std::vector<std::int64_t> ids_;     // empty: first_, first_ + 1, ...
  std::vector<std::uint64_t> marks_;  // empty, or a bit for each of padded_rows(size())
  std::int64_t first_ = 0;
  std::size_t dead_ = 0;
  mutable std::atomic<bool> sealed_{false};
  mutable std::shared_ptr<const MultiIndex> index_;
  mutable std::atomic<std::uint64_t> scan_cost_{0};
};

}  // namespace simskip
