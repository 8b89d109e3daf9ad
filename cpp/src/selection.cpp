#include "selection.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace simskip {
namespace {

Selection::Bits no_bits(const SegmentList& segments) {
  Selection::Bits bits;
  for (const auto& segment : segments.segments()) bits.emplace_back(CodeBlocks::padded_rows(segment->size()) / 64);
  return bits;
}

}  // namespace

Selection::Selection(const SegmentList& segments, const Filter& filter) : segments_(segments) {
  if (!filter.mask) {
    rows_.reserve(filter.n);
    for (std::size_t i = 0; i < filter.n; ++i) {
      const SegmentList::Place place = segments.known(filter.ids[i]);
      rows_.push_back({static_cast<std::uint32_t>(place.index), static_cast<std::uint32_t>(place.row)});
    }
    count_ = filter.n;
    return;
  }
  if (filter.n != segments.size())
    throw std::invalid_argument("where must be a boolean mask of " + std::to_string(segments.size()) +
                                " entries, got " + std::to_string(filter.n));
  bits_ = no_bits(segments);
  const bool* next = filter.mask;
  segments.for_each_run([&](std::size_t s, std::size_t begin, std::size_t end) {
    const Segment& segment = *segments.segments()[s];
    for (std::size_t row = begin; row < end; ++row) {
      if (!segment.is_live(row)) continue;
      const auto passes = static_cast<std::uint64_t>(*next++);
      bits_[s][row / 64] |= passes << (row % 64);
      count_ += passes;
    }
    return true;
  });
}

Selection::Subset Selection::gather() const {
  Subset subset{CodeBlocks(segments_.n_bits()), {}};
  subset.codes.reserve(count_);
  subset.ids.reserve(count_);
  const auto take = [&](const Segment& segment, std::size_t row) {
    subset.codes.append(segment.codes(), row, row + 1);
    subset.ids.push_back(segment.id_of(row));
  };
  for (const Row& row : rows_) take(*segments_.segments()[row.segment], row.row);
  if (bits_.empty()) return subset;
  segments_.for_each_run([&](std::size_t s, std::size_t begin, std::size_t end) {
    for (std::size_t word = begin / 64; word * 64 < end; ++word) {
      std::uint64_t bits = bits_[s][word];
      if (word == begin / 64) bits &= ~std::uint64_t{0} << (begin % 64);
      if (word == end / 64) bits &= (std::uint64_t{1} << (end % 64)) - 1;
      for (; bits; bits &= bits - 1)
        take(*segments_.segments()[s], word * 64 + static_cast<std::size_t>(__builtin_ctzll(bits)));
    }
    return true;
  });
  return subset;
}

Selection::Bits Selection::take_bits() && {
  if (bits_.empty()) {
    bits_ = no_bits(segments_);
    for (const Row& row : rows_) bits_[row.segment][row.row / 64] |= std::uint64_t{1} << (row.row % 64);
  }
  return std::move(bits_);
}

}  // namespace simskip
