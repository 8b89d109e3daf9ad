#include "simskip/segment_list.hpp"

#include <algorithm>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>

#include "simskip/codes.hpp"

namespace simskip {
namespace {

// Segments below this many bytes of codes are always merged: copying them costs less than searching one more.
constexpr std::size_t small_segment = 4096;
// A segment is merged with all smaller ones when it holds fewer than this many times what they hold.
constexpr std::size_t growth = 3;

// An index costs far more than a copy of the codes, so that a segment that has one waits longer.
bool wants_compaction(const Segment& segment) {
  return segment.dead() > segment.size() / 4 && (!segment.index() || segment.dead() > segment.size() / 2);
}

void require_distinct(const std::int64_t* ids, std::size_t n) {
  if (std::is_sorted(ids, ids + n, [](std::int64_t a, std::int64_t b) { return a <= b; })) return;
  std::vector<std::int64_t> sorted(ids, ids + n);
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    throw std::invalid_argument("ids must be distinct, got " + std::to_string(*twice) + " more than once");
}

}  // namespace

// Codes about to be added: they go to the end of `target`, which has room for them, or are `fresh`, for which the list
// has room.
struct SegmentList::Additions {
  const std::uint8_t* codes;  // ascending by id; perhaps the sorted ones
  const std::int64_t* ids;
  std::size_t n;
  std::vector<std::uint8_t> sorted_codes;
  std::vector<std::int64_t> sorted_ids;
  Segment* target = nullptr;
  std::shared_ptr<Segment> fresh;
};

SegmentList::Place SegmentList::find(std::int64_t id) const {
  for (std::size_t s = 0; s < segments_.size(); ++s)
    if (const std::size_t row = segments_[s]->find(id); row != Segment::no_row) return {segments_[s].get(), s, row};
  return {};
}

SegmentList::Place SegmentList::known(std::int64_t id) const {
  const Place place = find(id);
  if (!place.segment) throw std::invalid_argument("id " + std::to_string(id) + " is not in the index");
  return place;
}

void SegmentList::require_room(std::size_t n) const {
  // Dead rows count: a segment may have to hold them, and the limit is far.
  std::size_t rows = n;
  for (const auto& segment : segments_) rows += segment->size();
  if (n > CodeBlocks::max_size || rows > CodeBlocks::max_size)
    throw std::invalid_argument("an index holds at most " + std::to_string(CodeBlocks::max_size) + " codes");
}

SegmentList::Additions SegmentList::prepare(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) {
  Additions additions{codes, ids, n, {}, {}, nullptr, nullptr};
  if (n == 0) return additions;
  require_room(n);
  if (!std::is_sorted(ids, ids + n)) {
    const std::size_t n_bytes = bytes_per_code(n_bits_);
    std::vector<std::uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return ids[a] < ids[b]; });
    additions.sorted_codes.resize(n * n_bytes);
    additions.sorted_ids.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(codes + order[i] * n_bytes, n_bytes, &additions.sorted_codes[i * n_bytes]);
      additions.sorted_ids[i] = ids[order[i]];
    }
    additions.codes = additions.sorted_codes.data();
    additions.ids = additions.sorted_ids.data();
  }
  // The largest segment that ends before them and may grow.
  for (const auto& segment : segments_) {
    if (segment->sealed() || segment->last_id() >= additions.ids[0]) continue;
    segment->reserve(n, additions.ids);
    additions.target = segment.get();
    return additions;
  }
  additions.fresh = std::make_shared<Segment>(n_bits_);
  additions.fresh->reserve(n, additions.ids);
  additions.fresh->append(additions.codes, additions.ids, n);
  if (segments_.size() == segments_.capacity()) segments_.reserve(2 * segments_.size() + 8);
  return additions;
}

void SegmentList::commit(const Additions& additions) noexcept {
  if (additions.target)
    additions.target->append(additions.codes, additions.ids, additions.n);
  else if (additions.fresh)
    segments_.push_back(additions.fresh);
  live_ += additions.n;
}

void SegmentList::add(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) {
  require_distinct(ids, n);
  for (std::size_t i = 0; i < n; ++i)
    if (find(ids[i]).segment)
      throw std::invalid_argument("id " + std::to_string(ids[i]) + " is in the index already (upsert replaces codes)");
  commit(prepare(codes, ids, n));
  settle();
}

void SegmentList::remove(const std::int64_t* ids, std::size_t n) {
  require_distinct(ids, n);
  std::vector<Place> places;
  places.reserve(n);
  for (std::size_t i = 0; i < n; ++i) places.push_back(known(ids[i]));
  for (const Place& place : places) place.segment->reserve_marks();
  for (const Place& place : places) place.segment->remove(place.row);
  live_ -= n;
  settle();
}

void SegmentList::upsert(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) {
  require_distinct(ids, n);
  const std::size_t n_bytes = bytes_per_code(n_bits_);
  struct Change {
    Place place;
    const std::uint8_t* code;
  };
  std::vector<Change> in_place, moved;
  std::vector<std::int64_t> new_ids;
  std::vector<std::uint8_t> new_codes;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint8_t* code = codes + i * n_bytes;
    const Place place = find(ids[i]);
    if (place.segment && !place.segment->sealed()) {
      in_place.push_back({place, code});
      continue;
    }
    if (place.segment) moved.push_back({place, code});
    new_ids.push_back(ids[i]);
    new_codes.insert(new_codes.end(), code, code + n_bytes);
  }
  for (const Change& change : moved) change.place.segment->reserve_marks();
  const Additions additions = prepare(new_codes.data(), new_ids.data(), new_ids.size());
  // Nothing throws from here on.
  for (const Change& change : in_place) change.place.segment->overwrite(change.place.row, change.code);
  for (const Change& change : moved) change.place.segment->remove(change.place.row);
  live_ -= moved.size();
  commit(additions);
  settle();
}

void SegmentList::adopt(std::shared_ptr<Segment> segment) {
  Segments only;
  if (segment->live()) only.push_back(std::move(segment));
  live_ = only.empty() ? 0 : only.front()->live();
  segments_ = std::move(only);
}

std::shared_ptr<Segment> SegmentList::merge(const Segments& segments) const {
  std::size_t n = 0;
  for (const auto& segment : segments) n += segment->live();
  CodeBlocks codes(n_bits_);
  codes.reserve(n);
  std::vector<std::int64_t> ids;
  ids.reserve(n);
  visit_runs(segments, 0, [&](std::size_t s, std::size_t begin, std::size_t end) {
    const Segment& segment = *segments[s];
    while (begin < end) {
      if (!segment.is_live(begin)) {
        ++begin;
        continue;
      }
      std::size_t stop = segment.dead() ? begin + 1 : end;
      while (stop < end && segment.is_live(stop)) ++stop;
      codes.append(segment.codes(), begin, stop);
      for (; begin < stop; ++begin) ids.push_back(segment.id_of(begin));
    }
    return true;
  });
  return std::make_shared<Segment>(std::move(codes), std::move(ids));
}

void SegmentList::settle() noexcept {
  const auto empty = [](const std::shared_ptr<Segment>& segment) { return segment->live() == 0; };
  segments_.erase(std::remove_if(segments_.begin(), segments_.end(), empty), segments_.end());
  const auto larger = [](const auto& a, const auto& b) { return a->live() > b->live(); };
  try {
    for (auto& segment : segments_)
      if (wants_compaction(*segment)) segment = merge({segment});
    std::stable_sort(segments_.begin(), segments_.end(), larger);
    const std::size_t small = small_segment / (words_per_code(n_bits_) * sizeof(std::uint64_t));
    std::size_t smaller = 0, keep = segments_.size();
    for (std::size_t s = segments_.size(); s-- > 0;) {
      const std::size_t live = segments_[s]->live();
      if (smaller && live < std::max(small, growth * smaller)) keep = s;
      smaller += live;
    }
    if (keep == segments_.size()) return;
    const auto begin = segments_.begin() + static_cast<std::ptrdiff_t>(keep);
    *begin = merge({begin, segments_.end()});
    segments_.erase(begin + 1, segments_.end());
    std::stable_sort(segments_.begin(), segments_.end(), larger);
  } catch (const std::bad_alloc&) {
    // Whatever was done stays; the rest is tried again after the next change.
  }
}

}  // namespace simskip
