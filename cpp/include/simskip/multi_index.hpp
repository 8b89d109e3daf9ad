// Exact Hamming search that looks at few of the codes: multi-index hashing.
// (Norouzi, Punjani, Fleet, "Fast exact search in Hamming space with multi-index hashing", 2014.)
//
// The bits of a code are cut into m disjoint substrings, and for each there is a table of buckets: the rows by the
// value of that substring (a few bits may be in no substring). A query looks at the buckets whose number differs from
// its own substring in no bit, then in one bit, and so on; which table goes next, is free.
//
// When it may stop. Let table i have been looked at up to radius r_i (-1: not yet), that is, at every bucket within r_i
// bits of the query's. A code that was not seen differs from the query in at least r_i + 1 bits of each substring i,
// and since substrings are disjoint, in at least sum(r_i + 1) bits in all. So every code at a distance <= c is seen,
// where c = sum(r_i + 1) - 1: the covered radius. With R the k-th smallest distance among the codes seen, R <= c means
// that all codes at distances <= R have been seen, ties at R included, so the k first of them by (distance, row) are
// the answer. Each radius of each table adds one to c, whichever it is, so the cheapest goes next (a table's own radii
// in order); a table that was looked at whole ends the search, too.
//
// Nothing is to be set. Substrings have at most log2(n) + 1 bits (a table has O(n) buckets); how many there are is
// chosen by a cost model from n, the bits and the distances of neighbours in a sample of the codes; bits that depend on
// each other in that sample go to different ones. A query whose probing is about to cost more than a scan leaves it and
// is answered by simskip::top_k. Answers are the same bytes in any case.
//
// Memory beside the codes, with m = number of substrings (about n_bits / log2(n), at most twice that and a word's
// rounding): codes of at most 64 bits 12 m bytes per code, of more bits 4 m; and per table at most 4 * 2n bytes for its
// buckets. Building takes another 12 bytes per code for the time it takes.
//
// Immutable once built: any number of threads may search. It does not own the codes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "simskip/code_blocks.hpp"
#include "simskip/interrupt.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

// What searches did so far; added to by any number of threads.
struct SearchStats {
  std::atomic<std::uint64_t> codes{0};     // looked at, by probing or by scanning
  std::atomic<std::uint64_t> buckets{0};   // probed
  std::atomic<std::uint64_t> by_index{0};  // queries answered by probing
  std::atomic<std::uint64_t> by_scan{0};   // queries answered by scanning
};

class MultiIndex {
 public:
  // Indexes all rows; O(n m) time, on `threads` threads (< 1: the process's default). Searches must be given the same
  // rows. Throws Interrupted, std::bad_alloc.
  MultiIndex(const CodeBlocks& codes, int threads, Interrupt* interrupt);
  MultiIndex(MultiIndex&&) noexcept;
  MultiIndex& operator=(MultiIndex&&) noexcept;
  ~MultiIndex();

  std::size_t size() const;
  std::size_t nbytes() const;
  std::size_t n_substrings() const;

  // The same answers as simskip::top_k(codes, ...) and simskip::range(codes, ...), and what those throw.
  // `stats` may be null. force: queries are never scanned for; the worst of them looks at each table whole.
  Neighbors top_k(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                  const SearchOptions& options, SearchStats* stats, bool force) const;
  Range range(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, const SearchOptions& options,
              SearchStats* stats, bool force) const;

  // For a planner that has no index yet. Costs are nanoseconds of one thread by the same model that searches decide
  // by; they depend on nothing but the arguments.
  //
  // Of building it.
  static double build_cost(std::size_t n, int n_bits);
  // Of scanning for one query of `n_queries`.
  static double scan_cost(std::size_t n, int n_bits, std::size_t n_queries);
  // Of a query for k rows of these codes, with an index: 32 of their rows are searched for by scanning, which tells
  // how far neighbours are. Throws Interrupted, std::bad_alloc.
  static double expected_query_cost(const CodeBlocks& codes, std::size_t k, int threads = 0,
                                    Interrupt* interrupt = nullptr);
  // Whether that is clearly less than a scan. Fast where there are so few codes that it cannot be.
  static bool worth_building(const CodeBlocks& codes, std::size_t k, int threads = 0, Interrupt* interrupt = nullptr);

  struct State;  // the tables (cpp/src/multi_index_probe.hpp)

 private:
  std::unique_ptr<const State> state_;
};

}  // namespace simskip
