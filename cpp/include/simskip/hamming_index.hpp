// The exact Hamming index: codes under stable 64-bit ids.
//
// Rows are kept in ascending order of their ids, so hits ordered by (distance, row) are ordered by (distance, id).
// Ids go from 0 to max_id; those that are 0, 1, ... n - 1 take no memory, others 8 bytes each.
// Thread-safe: searches run side by side; a change waits for them and they see the index before or after it.
// Cost of add: amortised O(m) when ids ascend past those held, else O(n + m log m). remove: O(n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "simskip/code_blocks.hpp"
#include "simskip/float_top_k.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

struct IndexOptions {
  int max_distance = SearchOptions::max_distance_any;
  const std::vector<std::int64_t>* where = nullptr;  // only these ids, ascending and distinct; null: all
  int threads = 0;
  Interrupt* interrupt = nullptr;
};

class HammingIndex {
 public:
  // One less than what fits, so that the number after it does too.
  static constexpr std::int64_t max_id = std::numeric_limits<std::int64_t>::max() - 1;

  // next_id: what add() without ids begins with. Throws std::invalid_argument unless 1 <= n_bits <= max_bits and
  // next_id >= 0.
  explicit HammingIndex(int n_bits, std::int64_t next_id = 0);

  int n_bits() const { return n_bits_; }
  std::int64_t next_id() const;
  std::size_t size() const;
  bool contains(std::int64_t id) const;
  std::vector<std::int64_t> ids() const;  // ascending
  std::size_t nbytes() const;             // codes and ids

  // codes: (n, bytes_per_code(n_bits)) packed rows. ids: n distinct ids, or null for the next free ones.
  // Throws std::invalid_argument, with nothing changed, if an id is there already or out of range.
  void add(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n);
  // Throws std::invalid_argument, with nothing changed, if an id is unknown.
  void remove(const std::int64_t* ids, std::size_t n);
  // Replaces the codes of ids that are there, adds the others.
  void upsert(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n);
  // The packed codes of ids (or of all, in ascending order of id, for null). Throws as remove does.
  std::vector<std::uint8_t> codes(const std::int64_t* ids, std::size_t n) const;

  // See top_k.hpp. Throws std::invalid_argument on an empty index.
  Neighbors search(const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                   const IndexOptions& options) const;
  // outputs: (n_queries, n_bits) real outputs of the queries; see asymmetric.hpp.
  FloatNeighbors search_asymmetric(const float* outputs, std::size_t n_queries, std::size_t k,
                                   const IndexOptions& options) const;
  Range range_search(const std::uint8_t* queries, std::size_t n_queries, const IndexOptions& options) const;

  // Format v1 (see section_file.hpp), kind "hamming". load() verifies every byte; with `map` the codes stay in the
  // file, are read when searched, and are trusted. Throws FormatError, std::system_error.
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
  std::int64_t id_of(std::size_t row) const { return ids_.empty() ? static_cast<std::int64_t>(row) : ids_[row]; }
  // The row of an id, or size() if there is none.
  std::size_t row_of(std::int64_t id) const;
  std::uint32_t known_row(std::int64_t id) const;
  void insert(const std::uint8_t* codes, const std::vector<std::int64_t>& ids);
  template <class Search>
  auto search_where(const IndexOptions& options, Search&& search) const;

  int n_bits_;
  CodeBlocks codes_;
  std::vector<std::int64_t> ids_;  // ascending; empty while every row is its own id
  std::int64_t next_id_;           // past every id that was ever here
  mutable std::shared_mutex mutex_;
  mutable std::mutex turn_;
};

}  // namespace simskip
