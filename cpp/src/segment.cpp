#include "simskip/segment.hpp"

#include <algorithm>
#include <utility>

namespace simskip {
namespace {

bool consecutive(const std::int64_t* ids, std::size_t n) {  // ids: ascending
  return ids[n - 1] - ids[0] == static_cast<std::int64_t>(n) - 1;
}

}  // namespace

Segment::Segment(CodeBlocks codes, std::vector<std::int64_t> ids)
    : codes_(std::move(codes)), ids_(std::move(ids)), sealed_(codes_.size() > 0 && !codes_.owned()) {
  if (ids_.empty() || !consecutive(ids_.data(), ids_.size())) return;
  first_ = ids_.front();
  ids_ = {};
}

std::size_t Segment::lower_bound(std::int64_t id, std::size_t from) const {
  const std::size_t n = size();
  if (from >= n || id_of(from) >= id) return from;
  if (ids_.empty()) return static_cast<std::uint64_t>(id - first_) < n ? static_cast<std::size_t>(id - first_) : n;
  // Steps that double find the part to look into: neighbouring ids are found fast, far ones in O(log n).
  std::size_t low = from, step = 1;
  while (low + step < n && ids_[low + step] < id) {
    low += step;
    step *= 2;
  }
  const auto end = ids_.begin() + static_cast<std::ptrdiff_t>(std::min(n, low + step));
  return static_cast<std::size_t>(std::lower_bound(ids_.begin() + static_cast<std::ptrdiff_t>(low) + 1, end, id) -
                                  ids_.begin());
}

std::size_t Segment::find(std::int64_t id) const {
  if (size() == 0 || id < first_id() || id > last_id()) return no_row;
  std::size_t row;
  if (ids_.empty()) {
    row = static_cast<std::size_t>(id - first_);
  } else {
    const auto found = std::lower_bound(ids_.begin(), ids_.end(), id);
    if (*found != id) return no_row;
    row = static_cast<std::size_t>(found - ids_.begin());
  }
  return is_live(row) ? row : no_row;
}

void Segment::reserve(std::size_t n_more, const std::int64_t* ids) {
  if (n_more == 0) return;
  const std::size_t n = size(), total = n + n_more;
  codes_.reserve(total);
  const auto reserve_more = [](auto& values, std::size_t wanted) {
    if (wanted > values.capacity()) values.reserve(std::max(wanted, values.capacity() + values.capacity() / 2));
  };
  if (!marks_.empty()) reserve_more(marks_, CodeBlocks::padded_rows(total) / 64);
  const bool stays =
      ids_.empty() && consecutive(ids, n_more) && (n == 0 || ids[0] == first_ + static_cast<std::int64_t>(n));
  if (stays) return;
  if (!ids_.empty() || n == 0) return reserve_more(ids_, total);
  std::vector<std::int64_t> all;
  all.reserve(total);
  for (std::size_t row = 0; row < n; ++row) all.push_back(id_of(row));
  ids_ = std::move(all);
}

void Segment::append(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) noexcept {
  if (n == 0) return;
  const std::size_t before = size();
  if (before == 0 && consecutive(ids, n))
    first_ = ids[0];
  else if (!ids_.empty() || before == 0)
    ids_.insert(ids_.end(), ids, ids + n);
  codes_.append(codes, n);
  if (marks_.empty()) return;
  marks_.resize(CodeBlocks::padded_rows(before + n) / 64, 0);
  for (std::size_t row = before; row < before + n; ++row) marks_[row / 64] |= std::uint64_t{1} << (row % 64);
}

void Segment::reserve_marks() {
  if (!marks_.empty() || size() == 0) return;
  std::vector<std::uint64_t> marks(CodeBlocks::padded_rows(size()) / 64, ~std::uint64_t{0});
  if (size() % 64) marks.back() = (std::uint64_t{1} << (size() % 64)) - 1;
  marks_ = std::move(marks);
}

void Segment::remove(std::size_t row) noexcept {
  marks_[row / 64] &= ~(std::uint64_t{1} << (row % 64));
  ++dead_;
}

}  // namespace simskip
