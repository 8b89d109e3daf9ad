// One thread's way through rows of the database with some queries, tile by tile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"
#include "parallel.hpp"
#include "simskip/code_blocks.hpp"

namespace simskip {

// From here on a bit-sliced scan pays for its tables.
inline constexpr std::size_t many_queries = 16;

class DatabasePass {
 public:
  // The codes, and what add() gets, must outlive the pass. `interrupt` may be null.
  DatabasePass(const CodeBlocks& codes, Interrupt* interrupt) : codes_(codes), interrupt_(interrupt) {}

  void add(const std::uint64_t* query, kernels::Hits* hits) {
    queries_.push_back(query);
    hits_.push_back(hits);
  }

  const std::vector<const std::uint64_t*>& queries() const { return queries_; }

  // Looks at the rows [begin, end), which come after those of earlier calls, unless it is asked to stop. Now and then
  // `settle` may lower thresholds: a low threshold early is what keeps the hot loop from collecting.
  template <class Settle>
  void scan(std::size_t begin, std::size_t end, Settle&& settle) {
    const kernels::Kernels& kernels = kernels::in_use();
    const bool many = queries_.size() >= many_queries;
    const std::size_t tile = tile_rows(many);
    const bool asks = interrupt_ && on_calling_thread();
    while (begin < end) {
      if (asks ? interrupt_->check() : interrupt_ && interrupt_->requested()) return;
      const std::size_t stop = std::min(end, begin + std::min(tile, std::max(first_rows, seen_ * 3)));
      const kernels::Scan scan{codes_.data(), static_cast<std::uint32_t>(codes_.words()),
                               static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(stop),
                               static_cast<std::uint32_t>(codes_.size())};
      (many ? kernels.scan_many : kernels.scan)(scan, queries_.data(), hits_.data(),
                                                static_cast<std::uint32_t>(queries_.size()));
      seen_ += stop - begin;
      begin = stop;
      // Worth a look whenever the rows seen have grown by half: a threshold changes with their logarithm.
      if (seen_ >= next_settle_) {
        settle();
        next_settle_ = seen_ + seen_ / 2;
      }
    }
  }

 private:
  static constexpr std::size_t first_rows = 1024;
  // Half of a usual L2 cache: a tile of codes stays there while all queries look at it.
  static constexpr std::size_t tile_bytes = 256 << 10;
  // Words compared between two looks at the interrupt by a bit-sliced scan, which needs no tile that stays in a cache.
  static constexpr std::size_t sliced_work = std::size_t{1} << 25;

  std::size_t tile_rows(bool many) const {
    const std::size_t words = std::max(tile_bytes / sizeof(std::uint64_t), many ? sliced_work / queries_.size() : 0);
    return std::max<std::size_t>(words / codes_.words() / 64 * 64, 64);
  }

  const CodeBlocks& codes_;
  Interrupt* interrupt_;
  std::vector<const std::uint64_t*> queries_;
  std::vector<kernels::Hits*> hits_;
  std::size_t seen_ = 0, next_settle_ = 0;
};

}  // namespace simskip
