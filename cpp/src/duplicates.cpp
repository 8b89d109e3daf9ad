#include "simskip/duplicates.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>

#include "database_pass.hpp"
#include "kernels/kernels.hpp"
#include "parallel.hpp"
#include "simskip/threads.hpp"

namespace simskip {
namespace {

// Rows whose neighbours are looked for together: enough that a batch kernel pays.
constexpr std::size_t group_rows = 256;

// Sets of rows that several threads join at once; a set is known by its lowest row. A row's parent is never above it,
// and roots are only ever linked to lower ones, so there are no cycles, and the sets do not depend on the order.
// (Anderson, Woll: Wait-free parallel algorithms for the union-find problem, 1991.)
class DisjointSets {
 public:
  explicit DisjointSets(std::size_t n) : parent_(n) {
    for (std::size_t row = 0; row < n; ++row) parent_[row].store(static_cast<std::uint32_t>(row), relaxed);
  }

  std::uint32_t find(std::uint32_t row) {
    for (;;) {
      std::uint32_t parent = parent_[row].load(relaxed);
      if (parent == row) return row;
      const std::uint32_t above = parent_[parent].load(relaxed);
      // Halves the path; if another thread was faster, its parent is as good.
      if (above != parent) parent_[row].compare_exchange_weak(parent, above, relaxed);
      row = above;
    }
  }

  void join(std::uint32_t a, std::uint32_t b) {
    for (;;) {
      a = find(a);
      b = find(b);
      if (a == b) return;
      if (a < b) std::swap(a, b);
      std::uint32_t root = a;
      if (parent_[a].compare_exchange_strong(root, b, relaxed)) return;
    }
  }

 private:
  static constexpr auto relaxed = std::memory_order_relaxed;
  std::vector<std::atomic<std::uint32_t>> parent_;
};

// Joins the query's set with every row found, at once: nothing is kept.
class Joining : public kernels::Hits {
 public:
  Joining(DisjointSets& sets, const std::vector<std::uint32_t>& row_of, std::uint32_t own, std::uint32_t below)
      : sets_(&sets), row_of_(&row_of), own_(own) {
    threshold = below;
    full = kernels::rows_per_step;
    tighten = [](kernels::Hits* hits) { static_cast<Joining*>(hits)->join(); };
    use_buffers();
  }
  Joining(Joining&& other) noexcept
      : kernels::Hits(other), sets_(other.sets_), row_of_(other.row_of_), own_(other.own_) {
    use_buffers();
  }

  void join() {
    for (std::uint32_t i = 0; i < count; ++i)
      if (rows[i] > own_) sets_->join((*row_of_)[own_], (*row_of_)[rows[i]]);
    count = 0;
  }

 private:
  void use_buffers() {
    rows = row_buffer_.data();
    distances = distance_buffer_.data();
  }

  DisjointSets* sets_;
  const std::vector<std::uint32_t>* row_of_;
  std::uint32_t own_;
  std::array<std::uint32_t, 2 * kernels::rows_per_step> row_buffer_;
  std::array<std::uint16_t, 2 * kernels::rows_per_step> distance_buffer_;
};

// Joins equal codes and returns the lowest row of each distinct one, ascending.
std::vector<std::uint32_t> join_equal(const CodeBlocks& codes, const std::uint64_t* allowed, DisjointSets& sets,
                                      Interrupt* interrupt) {
  const std::size_t words = codes.words();
  std::vector<std::uint32_t> order;
  order.reserve(codes.size());
  for (std::uint32_t row = 0; row < codes.size(); ++row)
    if (!allowed || (allowed[row / 64] >> (row % 64) & 1)) order.push_back(row);
  std::size_t compared = 0;
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    // Sorting cannot be stopped otherwise than by unwinding it.
    if (interrupt && ++compared % 4096 == 0 && interrupt->check()) throw Interrupted();
    for (std::size_t w = 0; w < words; ++w)
      if (const std::uint64_t x = codes.at(a, w), y = codes.at(b, w); x != y) return x < y;
    return a < b;
  };
  std::sort(order.begin(), order.end(), before);
  std::vector<std::uint32_t> distinct;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto same = [&](std::uint32_t a, std::uint32_t b) {
      for (std::size_t w = 0; w < words; ++w)
        if (codes.at(a, w) != codes.at(b, w)) return false;
      return true;
    };
    if (i && same(order[i], distinct.back()))
      sets.join(order[i], distinct.back());
    else
      distinct.push_back(order[i]);
  }
  std::sort(distinct.begin(), distinct.end());
  return distinct;
}

}  // namespace

std::vector<std::uint32_t> duplicate_groups(const CodeBlocks& codes, const SearchOptions& options) {
  DisjointSets sets(codes.size());
  const std::vector<std::uint32_t> row_of = join_equal(codes, options.allowed, sets, options.interrupt);
  if (options.max_distance > 0 && !row_of.empty()) {
    const CodeBlocks distinct = codes.gather(row_of.data(), row_of.size());
    const std::size_t n = distinct.size(), words = distinct.words();
    const auto below = static_cast<std::uint32_t>(std::min(options.max_distance, codes.n_bits())) + 1;
    parallel_for((n + group_rows - 1) / group_rows, resolve_threads(options.threads), options.interrupt,
                 [&](std::size_t g) {
                   const std::size_t first = g * group_rows, last = std::min(n, first + group_rows);
                   std::vector<std::uint64_t> queries((last - first) * words);
                   std::vector<Joining> joining;
                   joining.reserve(last - first);
                   DatabasePass pass(distinct, options.interrupt);
                   for (std::size_t row = first; row < last; ++row) {
                     std::uint64_t* query = &queries[(row - first) * words];
                     for (std::size_t w = 0; w < words; ++w) query[w] = distinct.at(row, w);
                     joining.emplace_back(sets, row_of, static_cast<std::uint32_t>(row), below);
                     pass.add(query, &joining.back());
                   }
                   pass.scan(first, CodeBlocks::padded_rows(n), [] {});
                   for (Joining& found : joining) found.join();
                 });
  }
  std::vector<std::uint32_t> lowest(codes.size());
  for (std::uint32_t row = 0; row < codes.size(); ++row) lowest[row] = sets.find(row);
  return lowest;
}

}  // namespace simskip
