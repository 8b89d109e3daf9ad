// The exact Hamming index: codes under stable 64-bit ids.
//
// Ids go from 0 to max_id; runs of consecutive ones take no memory, others 8 bytes each.
// Codes live in segments (see segment_list.hpp): searches go over each of them and their hits are merged by
// (distance, id); with one segment and nothing removed there is nothing to merge.
// A segment is scanned until its scans have cost what a multi-index (see multi_index.hpp) of it costs; then that is
// built, by the search that finds it so, while others go on scanning. So whatever the queries to come, all of it costs
// at most about twice what the better of both ways from the beginning would have cost.
// Thread-safe: searches run side by side; a change waits for them and they see the index before or after it.
// Cost of a change of m codes: amortised O(m log n), O(m) for ids that ascend past those held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "simskip/float_top_k.hpp"
#include "simskip/segment_list.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

// How an index searches; all give the same answers.
enum class Method {
  automatic,   // scans, and builds a multi-index of a large segment once scans have cost as much
  scan,        // always
  multi_index  // a multi-index of every segment of some size, built by the first search, and no scans beside it
};

// Which codes a search may return: a view of arrays that must outlive it.
struct Filter {
  const std::int64_t* ids = nullptr;  // these, ascending and distinct ...
  const bool* mask = nullptr;         // ... or, if not null, an entry for each code in ascending order of id
  std::size_t n = 0;                  // entries of the one or the other
};

// A filter for each query.
struct QueryFilters {
  std::vector<Filter> filters;
  std::vector<std::int32_t> of_query;  // query q's is filters[of_query[q]]; below 0: none
};

struct IndexOptions {
  int max_distance = SearchOptions::max_distance_any;
  const Filter* where = nullptr;       // null: all
  const QueryFilters* each = nullptr;  // instead of `where`
  int threads = 0;
  Interrupt* interrupt = nullptr;
};

class HammingIndex {
 public:
  // One less than what fits, so that the number after it does too.
  static constexpr std::int64_t max_id = std::numeric_limits<std::int64_t>::max() - 1;

  // next_id: what add() without ids begins with. Throws std::invalid_argument unless 1 <= n_bits <= max_bits and
  // next_id >= 0.
  explicit HammingIndex(int n_bits, std::int64_t next_id = 0, Method method = Method::automatic);

  int n_bits() const { return segments_.n_bits(); }
  Method method() const { return method_; }
  std::int64_t next_id() const;
  std::size_t size() const;
  bool contains(std::int64_t id) const;
  std::vector<std::int64_t> ids() const;  // ascending
  // The first `count` ids >= `from`, ascending (fewer at the end).
  std::vector<std::int64_t> ids_from(std::int64_t from, std::size_t count) const;

  struct Sizes {
    std::size_t codes = 0, ids = 0, marks = 0, multi_index = 0;  // bytes
    std::size_t segments = 0, tombstones = 0;
    std::size_t substrings = 0;  // of the largest segment's multi-index; 0 without one
    std::size_t nbytes() const { return codes + ids + marks + multi_index; }
  };
  Sizes sizes() const;
  // What searches did so far; a query counts as answered the way that the largest segment was searched.
  const SearchStats& stats() const { return stats_; }

  // codes: (n, bytes_per_code(n_bits)) packed rows. ids: n distinct ids, or null for the next free ones.
  // Throws std::invalid_argument, with nothing changed, if an id is there already or out of range.
  void add(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n);
  // Throws std::invalid_argument, with nothing changed, if an id is unknown.
  void remove(const std::int64_t* ids, std::size_t n);
  // Replaces the codes of ids that are there, adds the others.
  void upsert(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n);
  // The packed codes of ids (or of all, in ascending order of id, for null). Throws as remove does.
  std::vector<std::uint8_t> codes(const std::int64_t* ids, std::size_t n) const;

  // Builds the multi-indexes that Method::multi_index has, now; changes wait only for moments. Throws Interrupted,
  // std::bad_alloc; searches are as before then.
  void build(int threads, Interrupt* interrupt) const;

  // See top_k.hpp. Throws std::invalid_argument on an empty index and for a filter with an unknown id or a mask of
  // another length than size().
  Neighbors search(const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                   const IndexOptions& options) const;
  // outputs: (n_queries, n_bits) real outputs of the queries; see asymmetric.hpp.
  FloatNeighbors search_asymmetric(const float* outputs, std::size_t n_queries, std::size_t k,
                                   const IndexOptions& options) const;
  Range range_search(const std::uint8_t* queries, std::size_t n_queries, const IndexOptions& options) const;

  // Each code's k nearest others, (size(), k), codes in ascending order of id; of options only threads and interrupt.
  // Memory: the answer and a few MB. Throws as search does.
  Neighbors knn_graph(std::size_t k, const IndexOptions& options) const;

  // Groups of ids, each ascending, ordered by their first; group g is entries limits[g] to limits[g + 1].
  struct Groups {
    std::vector<std::int64_t> limits, ids;
  };
  // Connected components of "at distance <= options.max_distance", those of one code left out. See duplicates.hpp.
  Groups duplicates(const IndexOptions& options) const;

  // Format v1 (see section_file.hpp), kind "hamming"; the same content gives the same bytes whatever its history.
  // load() verifies every byte; with `map` the codes stay in the file, are read when searched, and are trusted.
  // Throws FormatError, std::system_error.
  void save(const std::string& path) const;
  static std::unique_ptr<HammingIndex> load(const std::string& path, bool map);

 private:
  // A shared_mutex may let readers in for ever; here they queue behind a writer that waits.
  std::shared_lock<std::shared_mutex> reading() const {
    const std::lock_guard turn(turn_);
    return std::shared_lock(mutex_);
  }
  std::unique_lock<std::shared_mutex> writing() const {
    const std::lock_guard turn(turn_);
    return std::unique_lock(mutex_);
  }
  void build_due(std::size_t n_queries, std::size_t k, const IndexOptions& options) const;
  void build(const std::vector<std::shared_ptr<Segment>>& segments, int threads, Interrupt* interrupt) const;
  Neighbors search_locked(const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                          const IndexOptions& options) const;

  SegmentList segments_;
  std::int64_t next_id_;  // past every id that was ever here
  Method method_;
  mutable SearchStats stats_;
  mutable std::shared_mutex mutex_;
  mutable std::mutex turn_;
  mutable std::mutex building_;  // one build at a time
};

}  // namespace simskip
