// A filter, resolved: which rows of which segments pass it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simskip/hamming_index.hpp"
#include "simskip/segment_list.hpp"

namespace simskip {

class Selection {
 public:
  // Throws std::invalid_argument for an unknown id and for a mask of the wrong length. O(segments) per id and
  // logarithm of its distance from the one before, O(n) for a mask. `segments` must outlive it and not change.
  Selection(const SegmentList& segments, const Filter& filter);

  std::size_t size() const { return count_; }  // codes that pass

  // Copies of the codes that pass, and their ids, ascending.
  struct Subset {
    CodeBlocks codes;
    std::vector<std::int64_t> ids;
  };
  Subset gather() const;

  // A bit per row of each segment, set for living rows that pass.
  using Bits = std::vector<std::vector<std::uint64_t>>;
  Bits take_bits() &&;

 private:
  struct Row {
    std::uint32_t segment, row;
  };
  void take_ids(const std::int64_t* ids, std::size_t n);
  void take_mask(const bool* mask, std::size_t n);

  const SegmentList& segments_;
  std::vector<Row> rows_;  // ascending by id: of a filter by ids
  Bits bits_;              // of a mask
  std::size_t count_ = 0;
};

}  // namespace simskip
