// Packed codes as the scan wants them: blocks of 8 rows, word-planar, 64-byte aligned, padded to 64 rows.
//
// Word w of row i is data()[(i / 8 * words() + w) * 8 + i % 8]. Eight bytes per 64 bits of code, plus padding of
// less than 64 rows and (after appends) spare room of at most half the size.
// Not synchronised: any number of readers, or one writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace simskip {

class CodeBlocks {
 public:
  explicit CodeBlocks(int n_bits);

  // Reads blocks that live elsewhere (a mapped file) for as long as the pointer holds them. They are copied at the
  // first change. Rows are padded up to padded_rows(n).
  CodeBlocks(int n_bits, std::size_t n, std::shared_ptr<const std::uint64_t> blocks);

  CodeBlocks(CodeBlocks&&) noexcept = default;
  CodeBlocks& operator=(CodeBlocks&&) noexcept = default;

  int n_bits() const { return n_bits_; }
  std::size_t words() const { return words_; }
  std::size_t size() const { return size_; }
  const std::uint64_t* data() const { return data_.get(); }
  std::size_t nbytes() const { return padded_rows(size_) * words_ * sizeof(std::uint64_t); }

  static constexpr std::size_t padded_rows(std::size_t n) { return (n + 63) / 64 * 64; }
  static constexpr std::size_t max_size = 0xFFFFFFC0;  // rows are counted in 32 bits

  // codes: (n, bytes_per_code(n_bits)) packed rows. Amortised O(n). Throws std::length_error past max_size.
  void append(const std::uint8_t* codes, std::size_t n);

  // Rows [begin, end) of `other`, which has the same bit count and is not this. Costs and throws as above.
  void append(const CodeBlocks& other, std::size_t begin, std::size_t end);

  // Makes room, so that appending up to n rows in all does not throw.
  void reserve(std::size_t n);

  // Whether the memory is this object's own, so that rows may be overwritten.
  bool owned() const { return own_ != nullptr; }
  // Replaces one row by packed bytes. Only if owned().
  void overwrite(std::size_t row, const std::uint8_t* code) noexcept;

  // Word w of a row.
  std::uint64_t at(std::size_t row, std::size_t w) const { return *word(row, w); }

  // Writes one row's packed bytes.
  void read(std::size_t row, std::uint8_t* code) const;

  // A new store with these rows (each < size()) in this order.
  CodeBlocks gather(const std::uint32_t* rows, std::size_t n) const;

 private:
  std::uint64_t* word(std::size_t row, std::size_t w) { return own_ + (row / 8 * words_ + w) * 8 + row % 8; }
  const std::uint64_t* word(std::size_t row, std::size_t w) const {
    return data_.get() + (row / 8 * words_ + w) * 8 + row % 8;
  }

  int n_bits_;
  std::size_t words_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;      // rows that fit into own_
  std::uint64_t* own_ = nullptr;  // data_ if it may be written to
  std::shared_ptr<const std::uint64_t> data_;
};

}  // namespace simskip
