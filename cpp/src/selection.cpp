#include "selection.hpp"

#include <bitset>
#include <cstring>
#include <stdexcept>
#include <string>

namespace simskip {
namespace {

Selection::Bits no_bits(const SegmentList& segments) {
  Selection::Bits bits;
  for (const auto& segment : segments.segments()) bits.emplace_back(CodeBlocks::padded_rows(segment->size()) / 64);
  return bits;
}

// 64 booleans as bits, the first the lowest.
std::uint64_t packed(const bool* mask) {
  std::uint64_t bits = 0;
  for (int i = 0; i < 8; ++i) {
    std::uint64_t bytes;  // each 0 or 1
    std::memcpy(&bytes, mask + 8 * i, sizeof bytes);
    // Byte j goes to bit 56 + j; no other product of the two ends up there, nor carries into it.
    bits |= (bytes * 0x0102040810204080) >> 56 << (8 * i);
  }
  return bits;
}

}  // namespace

Selection::Selection(const SegmentList& segments, const Filter& filter) : segments_(segments) {
  if (filter.mask)
    take_mask(filter.mask, filter.n);
  else
    take_ids(filter.ids, filter.n);
}

void Selection::take_ids(const std::int64_t* ids, std::size_t n) {
  rows_.reserve(n);
  // Ids ascend, so that each segment is walked through once.
  std::vector<std::size_t> heads(segments_.segments().size());
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t before = rows_.size();
    for (std::size_t s = 0; s < heads.size(); ++s) {
      const Segment& segment = *segments_.segments()[s];
      const std::size_t row = heads[s] = segment.lower_bound(ids[i], heads[s]);
      if (row < segment.size() && segment.id_of(row) == ids[i] && segment.is_live(row))
        rows_.push_back({static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(row)});
    }
    if (rows_.size() == before) segments_.known(ids[i]);  // throws
  }
  count_ = n;
}

void Selection::take_mask(const bool* mask, std::size_t n) {
  if (n != segments_.size())
    throw std::invalid_argument("where must be a boolean mask of " + std::to_string(segments_.size()) +
                                " entries, got " + std::to_string(n));
  bits_ = no_bits(segments_);
  const bool* next = mask;
  segments_.for_each_run([&](std::size_t s, std::size_t begin, std::size_t end) {
    const Segment& segment = *segments_.segments()[s];
    std::uint64_t* bits = bits_[s].data();
    for (std::size_t row = begin; row < end;) {
      if (row % 64 == 0 && end - row >= 64 && !segment.dead()) {
        bits[row / 64] = packed(next);
        next += 64;
        row += 64;
        continue;
      }
      if (segment.is_live(row)) bits[row / 64] |= static_cast<std::uint64_t>(*next++) << (row % 64);
      ++row;
    }
    return true;
  });
  for (const auto& words : bits_)
    for (const std::uint64_t word : words) count_ += std::bitset<64>(word).count();
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
