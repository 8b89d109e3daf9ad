#include "simskip/code_blocks.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "huge_pages.hpp"
#include "simskip/codes.hpp"

namespace simskip {
namespace {

std::shared_ptr<std::uint64_t> allocate(std::size_t bytes) {
  auto memory = allocate_huge<std::uint64_t>(bytes / sizeof(std::uint64_t));
  std::memset(memory.get(), 0, bytes);
  return memory;
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
