// Codes under ids that may change: segments whose sizes grow geometrically (a log-structured merge).
//
// New codes are appended to a segment that ends before them, or become a small segment of their own. When the segments
// smaller than some segment hold more than a third of what it holds, it is merged with them. So each time a code is
// copied its segment has grown by a third at least: a code is copied O(log n) times, and there are O(log n) segments.
// Removed codes stay, marked dead, until they are a quarter of their segment: a scan looks at no more than 4/3 of the
// living, and a removal pays for copying three rows. (A segment with an index waits until they are half.)
// An id is alive in at most one segment; dead rows of the same id may be in others.
//
// A change that throws (std::invalid_argument, std::bad_alloc) has changed nothing.
// Not synchronised: any number of readers, or one writer. Segments are shared so that somebody can keep reading the
// codes of a sealed one (see segment.hpp) while the list changes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "simskip/segment.hpp"

namespace simskip {

class SegmentList {
 public:
  explicit SegmentList(int n_bits) : n_bits_(n_bits) {}

  int n_bits() const { return n_bits_; }
  std::size_t size() const { return live_; }  // living codes
  bool empty() const { return live_ == 0; }
  // None is empty; the largest first.
  const std::vector<std::shared_ptr<Segment>>& segments() const { return segments_; }

  // Where a living id is; a null pointer if nowhere. O(log^2 n).
  struct Place {
    Segment* segment = nullptr;
    std::size_t index = 0;  // of the segment
    std::size_t row = Segment::no_row;
  };
  Place find(std::int64_t id) const;
  Place known(std::int64_t id) const;  // throws std::invalid_argument if nowhere

  // codes: (n, bytes_per_code(n_bits)) packed rows. ids: distinct, non-negative; order does not matter, but ascending
  // ids that follow those of a segment cost O(n) amortised, others O(n log n) in all.
  void add(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n);
  void remove(const std::int64_t* ids, std::size_t n);
  // Replaces the codes of ids that are there, adds the others.
  void upsert(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n);
  // Codes that are there already, in a mapped file for example, as the only segment.
  void adopt(std::shared_ptr<Segment> segment);

  // The living rows in ascending order of id, as calls visit(segment index, begin, end): runs of rows, dead ones
  // among them. visit returns false to stop. O(rows + runs * segments * log).
  template <class Visit>
  void for_each_run(Visit&& visit) const {
    visit_runs(segments_, 0, visit);
  }
  // As above from the first id >= `from`.
  template <class Visit>
  void for_each_run_from(std::int64_t from, Visit&& visit) const {
    visit_runs(segments_, from, visit);
  }

  // A segment of its own with copies of all living rows.
  std::shared_ptr<Segment> merged() const { return merge(segments_); }

 private:
  using Segments = std::vector<std::shared_ptr<Segment>>;
  struct Additions;

  template <class Visit>
  static void visit_runs(const Segments& segments, std::int64_t from, Visit&& visit);
  std::shared_ptr<Segment> merge(const Segments& segments) const;
  void require_room(std::size_t n) const;
  Additions prepare(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n);
  void commit(const Additions& additions) noexcept;
  // Removes what is empty, compacts and merges as said above. Without memory for it, leaves things as they are: they
  // are right, only slower.
  void settle() noexcept;

  int n_bits_;
  Segments segments_;
  std::size_t live_ = 0;
};

template <class Visit>
void SegmentList::visit_runs(const Segments& segments, std::int64_t from, Visit&& visit) {
  const std::size_t n = segments.size();
  std::vector<std::size_t> heads(n);
  for (std::size_t s = 0; s < n; ++s) heads[s] = segments[s]->lower_bound(from);
  for (;;) {
    // The segment with the smallest next id runs until the second smallest.
    std::size_t first = n, second = n;
    for (std::size_t s = 0; s < n; ++s) {
      if (heads[s] == segments[s]->size()) continue;
      const std::int64_t id = segments[s]->id_of(heads[s]);
      if (first == n || id < segments[first]->id_of(heads[first])) {
        second = first;
        first = s;
      } else if (second == n || id < segments[second]->id_of(heads[second])) {
        second = s;
      }
    }
    if (first == n) return;
    const Segment& segment = *segments[first];
    const std::size_t begin = heads[first];
    std::size_t end = second == n ? segment.size() : segment.lower_bound(segments[second]->id_of(heads[second]), begin);
    if (end == begin) end = begin + 1;  // the same id, dead in one of the two
    if (!visit(first, begin, end)) return;
    heads[first] = end;
  }
}

}  // namespace simskip
