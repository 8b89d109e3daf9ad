#include "multi_index_table.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "parallel.hpp"

namespace simskip {
namespace {

// Rows of one piece of work of the first pass, unless so many pieces' counters would take more memory than codes.
constexpr std::size_t min_chunk = 1 << 16;
constexpr std::size_t max_chunks = 256;
// More parts than this and their open ends no longer fit into a second-level cache.
constexpr int max_part_bits = 11;
constexpr std::size_t rows_per_poll = 1 << 16;
constexpr std::size_t pad = 8;  // codes that a kernel may read past the last

class TableBuilder {
 public:
  TableBuilder(const CodeBlocks& codes, const Substring& substring, int threads, Interrupt* interrupt)
      : codes_(codes),
        substring_(substring),
        threads_(threads),
        interrupt_(interrupt),
        n_(codes.size()),
        one_word_(codes.words() == 1),
        low_bits_(substring.bits() - std::min(max_part_bits, (substring.bits() + 1) / 2)),
        n_parts_(std::size_t{1} << (substring.bits() - low_bits_)),
        chunk_(std::max(min_chunk, (n_ + max_chunks - 1) / max_chunks)),
        n_chunks_((n_ + chunk_ - 1) / chunk_),
        places_(n_chunks_ * n_parts_),
        part_begin_(n_parts_ + 1),
        passed_rows_(n_) {
    if (one_word_)
      passed_codes_ = HugeArray<std::uint64_t>(n_);
    else
      passed_keys_ = HugeArray<std::uint32_t>(n_);
    table_.offsets = HugeArray<std::uint32_t>(substring.buckets() + 1);
    table_.rows = HugeArray<std::uint32_t>(n_);
    if (one_word_) table_.codes = HugeArray<std::uint64_t>(n_ + pad);
  }

  BucketTable build() {
    parallel_for(n_chunks_, threads_, interrupt_, [&](std::size_t c) { count(c); });
    place_parts();
    parallel_for(n_chunks_, threads_, interrupt_, [&](std::size_t c) { pass(c); });
    parallel_for(n_parts_, threads_, interrupt_, [&](std::size_t part) { sort(part); });
    table_.offsets[substring_.buckets()] = static_cast<std::uint32_t>(n_);
    if (one_word_) std::fill_n(table_.codes.data() + n_, pad, 0);
    return std::move(table_);
  }

 private:
  std::uint64_t word(std::size_t row) const { return codes_.at(row, substring_.word()); }

  void count(std::size_t c) {
    std::uint32_t* counts = &places_[c * n_parts_];
    const std::size_t end = std::min(n_, (c + 1) * chunk_);
    for (std::size_t row = c * chunk_; row < end; ++row) ++counts[substring_.key(word(row)) >> low_bits_];
  }

  // Counts become places: parts follow each other, and within a part the chunks.
  void place_parts() {
    std::uint32_t place = 0;
    for (std::size_t part = 0; part < n_parts_; ++part) {
      part_begin_[part] = place;
      for (std::size_t c = 0; c < n_chunks_; ++c) {
        const std::uint32_t count = places_[c * n_parts_ + part];
        places_[c * n_parts_ + part] = place;
        place += count;
      }
    }
    part_begin_[n_parts_] = place;
  }

  void pass(std::size_t c) {
    std::uint32_t* places = &places_[c * n_parts_];
    const std::size_t end = std::min(n_, (c + 1) * chunk_);
    for (std::size_t row = c * chunk_; row < end; ++row) {
      const std::uint64_t w = word(row);
      const std::uint32_t key = substring_.key(w);
      const std::uint32_t place = places[key >> low_bits_]++;
      passed_rows_[place] = static_cast<std::uint32_t>(row);
      if (one_word_)
        passed_codes_[place] = w;
      else
        passed_keys_[place] = key;
    }
  }

  std::uint32_t passed_key(std::size_t place) const {
    return one_word_ ? substring_.key(passed_codes_[place]) : passed_keys_[place];
  }

  // A part may hold all rows, so it looks whether to stop.
  bool stopped() const { return interrupt_ && (on_calling_thread() ? interrupt_->check() : interrupt_->requested()); }

  void sort(std::size_t part) {
    const std::size_t begin = part_begin_[part], end = part_begin_[part + 1];
    const std::size_t buckets = std::size_t{1} << low_bits_;
    const std::uint32_t low = static_cast<std::uint32_t>(buckets - 1);
    std::uint32_t* offsets = table_.offsets.data() + part * buckets;
    std::vector<std::uint32_t> places(buckets);
    for (std::size_t from = begin; from < end; from += rows_per_poll) {
      if (stopped()) return;
      const std::size_t to = std::min(end, from + rows_per_poll);
      for (std::size_t i = from; i < to; ++i) ++places[passed_key(i) & low];
    }
    auto place = static_cast<std::uint32_t>(begin);
    for (std::size_t b = 0; b < buckets; ++b) {
      const std::uint32_t count = places[b];
      places[b] = offsets[b] = place;
      place += count;
    }
    for (std::size_t from = begin; from < end; from += rows_per_poll) {
      if (stopped()) return;
      const std::size_t to = std::min(end, from + rows_per_poll);
      for (std::size_t i = from; i < to; ++i) {
        const std::uint32_t to_place = places[passed_key(i) & low]++;
        table_.rows[to_place] = passed_rows_[i];
        if (one_word_) table_.codes[to_place] = passed_codes_[i];
      }
    }
  }

  const CodeBlocks& codes_;
  const Substring& substring_;
  int threads_;
  Interrupt* interrupt_;
  std::size_t n_;
  bool one_word_;
  int low_bits_;         // of the key, left to the second pass
  std::size_t n_parts_;  // by the key's other bits
  std::size_t chunk_, n_chunks_;
  std::vector<std::uint32_t> places_;      // (n_chunks, n_parts): where a chunk's next row of a part goes
  std::vector<std::uint32_t> part_begin_;  // n_parts + 1
  HugeArray<std::uint32_t> passed_rows_, passed_keys_;
  HugeArray<std::uint64_t> passed_codes_;
  BucketTable table_;
};

}  // namespace

BucketTable build_table(const CodeBlocks& codes, const Substring& substring, int threads, Interrupt* interrupt) {
  return TableBuilder(codes, substring, threads, interrupt).build();
}

}  // namespace simskip
