// Exact Hamming search by multi-index hashing: codes are cut into m substrings, each with a table from its value to
// the rows that have it; a search looks at the rows whose substrings are near the query's.
// (Norouzi, Punjani, Fleet: Fast exact search in Hamming space with multi-index hashing, PAMI 2014.)
//
// Why it may stop. Rounds go over s = 0, 1, ... and, within one, over the substrings j = 0 ... m - 1: round (s, j)
// looks up every value at distance s from the query's j-th substring. After it, a row not seen yet differs from the
// query in at least s + 1 bits of each substring 0 ... j (values at distance <= s were looked up there) and in at
// least s bits of each of the others (distance <= s - 1). So its distance is at least
//     (j + 1) (s + 1) + (m - j - 1) s = m s + j + 1.
// All rows within m s + j ("covered") have therefore been seen, and once the k-th nearest seen is no farther than
// that, no unseen row can be as near: ties are complete too, and the order (distance, row) is that of a scan.
//
// There is nothing to set. m comes from the number of rows: the substrings are as long as tables of n / 2 values
// allow, so that a value has a few rows. A cost model (nanoseconds per value, row seen, word scanned) gives a query up
// for the scan as soon as that is cheaper: long codes, large k, many ties, filters that leave little. If most of the
// first queries of a batch are, the others are scanned at once.
//
// Memory per row and substring: 4 bytes (and 8 more, a copy of the code, for codes of up to 64 bits), plus at most 2
// bytes of table: nbytes() <= n m 14 + 1 MB with m = ceil(n_bits / (floor(log2 n) - 1)), e.g. 42 bytes per 64-bit code
// at ten million; codes of more than 64 bits: n m 6 + 1 MB, e.g. 72 bytes per 256-bit code at ten million.
// Build: O(n m). Immutable, so any number of threads may search.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "simskip/code_blocks.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

// What searches did, added up; any thread may add and read.
struct SearchStats {
  std::atomic<std::uint64_t> queries{0};     // all of them ...
  std::atomic<std::uint64_t> scanned{0};     // ... and those that were answered by a scan
  std::atomic<std::uint64_t> values{0};      // table entries looked up
  std::atomic<std::uint64_t> rows_seen{0};   // codes compared with a query, by tables or scan
};

class MultiIndex {
 public:
  // Throws Interrupted, std::bad_alloc.
  MultiIndex(const CodeBlocks& codes, int threads, Interrupt* interrupt);

  std::size_t size() const { return size_; }
  std::size_t substrings() const { return tables_.size(); }
  std::size_t nbytes() const;

  // Whether an index over so many codes can be worth its memory and its build.
  static bool pays(std::size_t n, int n_bits);
  // What a build costs, in queries answered by a scan of the same codes.
  static double build_queries(std::size_t n, int n_bits);

  // Both give what top_k() and range() of top_k.hpp give. `codes` are those it was built from. With `always`, queries
  // are given up only when tables would cost more than looking at every row one by one. stats may be null.
  Neighbors top_k(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                  const SearchOptions& options, bool always, SearchStats* stats) const;
  Range range(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, const SearchOptions& options,
              bool always, SearchStats* stats) const;

 private:
  friend class MultiIndexSearch;

  struct Table {
    int first_bit = 0, n_bits = 0;
    std::shared_ptr<std::uint32_t> starts;  // rows with value v are entries starts[v] to starts[v + 1]
    std::shared_ptr<std::uint32_t> rows;    // ascending within a value
    std::shared_ptr<std::uint64_t> codes;   // of the same rows; null for codes of more than one word
  };
  void fill(Table& table, const CodeBlocks& codes, Interrupt* interrupt) const;
  const std::vector<std::vector<std::uint32_t>>& masks(int n_bits) const { return masks_[n_bits - shortest_]; }

  std::size_t size_;
  int shortest_;  // bits of the shortest substring; none has more than one bit more
  std::vector<Table> tables_;
  // [length - shortest_][s]: all numbers of that many bits of which s are set, ascending: then values that follow each
  // other are looked up one after the other. As many s as a search can use.
  std::vector<std::vector<std::uint32_t>> masks_[2];
};

}  // namespace simskip
