#include "simskip/code_blocks.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#include "simskip/codes.hpp"

namespace simskip {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

// Zeroed, aligned to cache lines; big ones to huge pages, which save the scan a page-table walk every 4 KiB.
std::shared_ptr<std::uint64_t> allocate(std::size_t bytes) {
  const std::size_t alignment = bytes >= 2 * huge_page ? huge_page : 64;
  const std::size_t rounded = std::max((bytes + alignment - 1) / alignment * alignment, alignment);
  void* memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
  if (alignment == huge_page) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish; refusal costs only speed
  std::memset(memory, 0, rounded);
  return {static_cast<std::uint64_t*>(memory), std::free};
}

}  // namespace

CodeBlocks::CodeBlocks(int n_bits) : n_bits_(n_bits), words_(words_per_code(n_bits)) {}

CodeBlocks::CodeBlocks(int n_bits, std::size_t n, std::shared_ptr<const std::uint64_t> blocks)
    : n_bits_(n_bits), words_(words_per_code(n_bits)), size_(n), data_(std::move(blocks)) {}

void CodeBlocks::reserve(std::size_t n) {
  if (n > max_size) throw std::length_error("an index holds at most " + std::to_string(max_size) + " codes");
  if (own_ && n <= capacity_) return;
  const std::size_t grown = size_ ? std::max(n, size_ + size_ / 2) : n;
  const std::size_t capacity = padded_rows(std::min(grown, max_size));
  auto memory = allocate(capacity * words_ * sizeof(std::uint64_t));
  if (size_) std::memcpy(memory.get(), data_.get(), nbytes());
  own_ = memory.get();
  capacity_ = capacity;
  data_ = std::move(memory);
}

void CodeBlocks::append(const std::uint8_t* codes, std::size_t n) {
  reserve(size_ + n);
  const std::size_t n_bytes = bytes_per_code(n_bits_);
  std::uint64_t words[max_bits / 64];
  for (std::size_t i = 0; i < n; ++i) {
    bytes_to_words(codes + i * n_bytes, n_bits_, words);
    for (std::size_t w = 0; w < words_; ++w) *word(size_ + i, w) = words[w];
  }
  size_ += n;
}

void CodeBlocks::append(const CodeBlocks& other, std::size_t begin, std::size_t end) {
  reserve(size_ + (end - begin));
  if (words_ == 1) {  // then rows follow each other in memory
    if (begin < end) std::memcpy(own_ + size_, other.data() + begin, (end - begin) * sizeof(std::uint64_t));
  } else {
    for (std::size_t row = begin, to = size_; row < end; ++row, ++to)
      for (std::size_t w = 0; w < words_; ++w) *word(to, w) = *other.word(row, w);
  }
  size_ += end - begin;
}

void CodeBlocks::overwrite(std::size_t row, const std::uint8_t* code) noexcept {
  std::uint64_t words[max_bits / 64];
  bytes_to_words(code, n_bits_, words);
  for (std::size_t w = 0; w < words_; ++w) *word(row, w) = words[w];
}

void CodeBlocks::read(std::size_t row, std::uint8_t* code) const {
  std::uint64_t words[max_bits / 64];
  for (std::size_t w = 0; w < words_; ++w) words[w] = *word(row, w);
  std::memcpy(code, words, bytes_per_code(n_bits_));
}

CodeBlocks CodeBlocks::gather(const std::uint32_t* rows, std::size_t n) const {
  CodeBlocks result(n_bits_);
  result.reserve(n);
  result.size_ = n;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t w = 0; w < words_; ++w) *result.word(i, w) = *word(rows[i], w);
  return result;
}

}  // namespace simskip
