#include "simskip/multi_index.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "huge_pages.hpp"
#include "kernels/kernels.hpp"
#include "multi_index_search.hpp"
#include "parallel.hpp"
#include "simskip/codes.hpp"
#include "simskip/threads.hpp"

namespace simskip {
namespace {

// Rows between two looks at the interrupt while a table is filled: a few milliseconds.
constexpr std::size_t rows_per_look = 1 << 16;
// Queries that show whether tables serve a batch, and those that a thread takes at a time.
constexpr std::size_t pilot_queries = 64;
constexpr std::size_t chunk_queries = 8;

// Tables of at most n / 2 values: shorter ones see more rows, longer ones look up more empty values.
int substring_bits(std::size_t n) { return std::max(1, static_cast<int>(std::bit_width(n)) - 2); }

std::size_t n_substrings(std::size_t n, int n_bits) {
  const auto length = static_cast<std::size_t>(substring_bits(n));
  return (static_cast<std::size_t>(n_bits) + length - 1) / length;
}

// All numbers of n_bits bits of which s are set, ascending.
std::vector<std::uint32_t> numbers_with(int s, int n_bits) {
  if (s == 0) return {0};
  std::vector<std::uint32_t> numbers;
  const std::uint64_t end = std::uint64_t{1} << n_bits;
  // The next number with as many set bits (Warren, Hacker's Delight, 2-1).
  for (std::uint64_t x = (std::uint64_t{1} << s) - 1; x < end;) {
    numbers.push_back(static_cast<std::uint32_t>(x));
    const std::uint64_t lowest = x & (~x + 1), carried = x + lowest;
    x = carried | (((x ^ carried) >> 2) / lowest);
  }
  return numbers;
}

}  // namespace

bool MultiIndex::pays(std::size_t n, int n_bits) {
  // Below, a scan takes a few microseconds; above, the substrings of a code are too many to be looked up.
  return n >= 100'000 && n_substrings(n, n_bits) <= 32;
}

double MultiIndex::build_queries(std::size_t n, int n_bits) {
  // A row goes to a random place of each table.
  return static_cast<double>(n_substrings(n, n_bits)) * table_ns_per_row /
         (scan_ns_per_word * static_cast<double>(words_per_code(n_bits)));
}

MultiIndex::MultiIndex(const CodeBlocks& codes, int threads, Interrupt* interrupt)
    : size_(codes.size()), tables_(n_substrings(codes.size(), codes.n_bits())) {
  const int m = static_cast<int>(tables_.size()), n_bits = codes.n_bits();
  shortest_ = n_bits / m;
  int bit = 0;
  for (int j = 0; j < m; ++j) {
    tables_[j].first_bit = bit;
    tables_[j].n_bits = shortest_ + (j < n_bits % m);
    bit += tables_[j].n_bits;
  }
  for (int longer = 0; longer < 2; ++longer) {
    // More values than a quarter of the rows: no search gets that far before a scan is cheaper.
    std::size_t room = std::max<std::size_t>(64, size_ / 4);
    const int length = shortest_ + longer;
    for (int s = 0; s <= length; ++s) {
      masks_[longer].push_back(numbers_with(s, length));
      if (masks_[longer].back().size() > room) {
        masks_[longer].pop_back();
        break;
      }
      room -= masks_[longer].back().size();
    }
  }
  parallel_for(tables_.size(), resolve_threads(threads), interrupt,
               [&](std::size_t j) { fill(tables_[j], codes, interrupt); });
}

// A counting sort by the value of the substring.
void MultiIndex::fill(Table& table, const CodeBlocks& codes, Interrupt* interrupt) const {
  const std::size_t n = codes.size(), n_values = std::size_t{1} << table.n_bits, words = codes.words();
  table.starts = allocate_huge<std::uint32_t>(n_values + 2);
  table.rows = allocate_huge<std::uint32_t>(n);
  if (words == 1) {
    table.codes = allocate_huge<std::uint64_t>(CodeBlocks::padded_rows(n));
    std::memset(table.codes.get() + n, 0, (CodeBlocks::padded_rows(n) - n) * sizeof(std::uint64_t));
  }
  // Counts stand two places on and become starts one place on, which filling moves to where they belong.
  std::uint32_t* starts = table.starts.get();
  std::memset(starts, 0, (n_values + 2) * sizeof(std::uint32_t));
  const Substring substring(table.first_bit, table.n_bits);
  const auto value = [&](std::size_t row) {
    return substring(codes.data() + row / 8 * words * 8 + row % 8, 8);
  };
  const auto stopped = [&, asks = interrupt && on_calling_thread()](std::size_t row) {
    return row % rows_per_look == 0 && (asks ? interrupt->check() : interrupt && interrupt->requested());
  };
  for (std::size_t row = 0; row < n; ++row) {
    if (stopped(row)) return;
    ++starts[value(row) + 2];
  }
  for (std::size_t v = 2; v < n_values + 2; ++v) starts[v] += starts[v - 1];
  for (std::size_t row = 0; row < n; ++row) {
    if (stopped(row)) return;
    const std::uint32_t place = starts[value(row) + 1]++;
    table.rows.get()[place] = static_cast<std::uint32_t>(row);
    if (words == 1) table.codes.get()[place] = codes.data()[row];
  }
}

std::size_t MultiIndex::nbytes() const {
  std::size_t bytes = 0;
  for (const Table& table : tables_)
    bytes += ((std::size_t{1} << table.n_bits) + 2 + size_) * sizeof(std::uint32_t) +
             (table.codes ? CodeBlocks::padded_rows(size_) * sizeof(std::uint64_t) : 0);
  for (const auto& by_weight : masks_)
    for (const auto& numbers : by_weight) bytes += numbers.size() * sizeof(std::uint32_t);
  return bytes;
}

namespace {

// Runs `search(query)`, which says whether it succeeded, for all queries, and returns those that it gave up.
template <class NewSearch, class Search>
std::vector<std::size_t> search_all(std::size_t n_queries, const SearchOptions& options, SearchStats* stats,
                                    NewSearch&& new_search, Search&& search) {
  std::vector<std::uint8_t> given_up(n_queries, 0);
  const auto run = [&](std::size_t begin, std::size_t end) {
    parallel_for((end - begin + chunk_queries - 1) / chunk_queries, resolve_threads(options.threads), options.interrupt,
                 [&](std::size_t c) {
                   MultiIndexSearch searcher = new_search();
                   const std::size_t first = begin + c * chunk_queries;
                   for (std::size_t q = first; q < std::min(end, first + chunk_queries); ++q)
                     given_up[q] = !search(searcher, q);
                   if (!stats) return;
                   stats->values += searcher.values();
                   stats->rows_seen += searcher.rows_seen();
                 });
  };
  const std::size_t pilot = std::min(n_queries, pilot_queries);
  run(0, pilot);
  const auto failed = static_cast<std::size_t>(std::count(given_up.begin(), given_up.begin() + pilot, 1));
  if (2 * failed > pilot)
    std::fill(given_up.begin() + pilot, given_up.end(), 1);
  else if (pilot < n_queries)
    run(pilot, n_queries);
  std::vector<std::size_t> left;
  for (std::size_t q = 0; q < n_queries; ++q)
    if (given_up[q]) left.push_back(q);
  if (stats) stats->queries += n_queries;
  return left;
}

std::vector<std::uint8_t> gather(const std::uint8_t* queries, std::size_t width, const std::vector<std::size_t>& rows) {
  std::vector<std::uint8_t> gathered(rows.size() * width);
  for (std::size_t i = 0; i < rows.size(); ++i) std::memcpy(&gathered[i * width], queries + rows[i] * width, width);
  return gathered;
}

void count_scans(SearchStats* stats, std::size_t n_queries, const CodeBlocks& codes) {
  if (!stats) return;
  stats->scanned += n_queries;
  stats->rows_seen += n_queries * codes.size();
}

}  // namespace

Neighbors MultiIndex::top_k(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                            const SearchOptions& options, bool always, SearchStats* stats) const {
  const std::size_t width = bytes_per_code(codes.n_bits());
  Neighbors out{std::vector<std::int32_t>(n_queries * k, no_distance), std::vector<std::int64_t>(n_queries * k, no_id)};
  const auto new_search = [&] { return MultiIndexSearch(*this, codes, options, n_queries, always); };
  const auto left = search_all(n_queries, options, stats, new_search, [&](MultiIndexSearch& search, std::size_t q) {
    if (!search.run(queries + q * width, k)) return false;
    search.write(&out.distances[q * k], &out.ids[q * k]);
    return true;
  });
  if (left.empty()) return out;
  const Neighbors scanned =
      simskip::top_k(codes, gather(queries, width, left).data(), left.size(), k, options);
  count_scans(stats, left.size(), codes);
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::copy_n(&scanned.distances[i * k], k, &out.distances[left[i] * k]);
    std::copy_n(&scanned.ids[i * k], k, &out.ids[left[i] * k]);
  }
  return out;
}

Range MultiIndex::range(const CodeBlocks& codes, const std::uint8_t* queries, std::size_t n_queries,
                        const SearchOptions& options, bool always, SearchStats* stats) const {
  const std::size_t width = bytes_per_code(codes.n_bits());
  struct Found {
    std::vector<std::int32_t> distances;
    std::vector<std::int64_t> ids;
  };
  std::vector<Found> found(n_queries);
  const auto new_search = [&] { return MultiIndexSearch(*this, codes, options, n_queries, always); };
  const auto left = search_all(n_queries, options, stats, new_search, [&](MultiIndexSearch& search, std::size_t q) {
    if (!search.run(queries + q * width, std::numeric_limits<std::size_t>::max())) return false;
    found[q].distances.resize(search.count());
    found[q].ids.resize(search.count());
    search.write(found[q].distances.data(), found[q].ids.data());
    return true;
  });
  if (!left.empty()) {
    const Range scanned = simskip::range(codes, gather(queries, width, left).data(), left.size(), options);
    count_scans(stats, left.size(), codes);
    for (std::size_t i = 0; i < left.size(); ++i) {
      const auto begin = scanned.limits[i], end = scanned.limits[i + 1];
      found[left[i]].distances.assign(scanned.distances.begin() + begin, scanned.distances.begin() + end);
      found[left[i]].ids.assign(scanned.ids.begin() + begin, scanned.ids.begin() + end);
    }
  }
  Range out;
  out.limits.push_back(0);
  for (const Found& one : found) out.limits.push_back(out.limits.back() + static_cast<std::int64_t>(one.ids.size()));
  out.distances.reserve(out.limits.back());
  out.ids.reserve(out.limits.back());
  for (Found& one : found) {
    out.distances.insert(out.distances.end(), one.distances.begin(), one.distances.end());
    out.ids.insert(out.ids.end(), one.ids.begin(), one.ids.end());
    one = {};
  }
  return out;
}

}  // namespace simskip
