#include "simskip/codes.hpp"

#include <bit>
#include <cstring>

#include "simskip/threads.hpp"

static_assert(std::endian::native == std::endian::little, "codes are read as little-endian words");

namespace simskip {
namespace {

// Below this many values a parallel region costs more than the work.
constexpr std::size_t serial_values = 1 << 16;

template <class Value>
void pack_rows(const Value* values, std::size_t n, int n_bits, Value threshold, std::uint8_t* codes, int threads) {
  const std::size_t n_bytes = bytes_per_code(n_bits);
  const auto bits = static_cast<std::size_t>(n_bits);
  const bool parallel = n * bits > serial_values;
#pragma omp parallel for schedule(static) num_threads(resolve_threads(threads)) if (parallel)
  for (std::size_t i = 0; i < n; ++i) {
    const Value* row = values + i * bits;
    std::uint8_t* code = codes + i * n_bytes;
    std::size_t bit = 0;
    for (; bit + 8 <= bits; bit += 8) {
      unsigned byte = 0;
      for (int b = 0; b < 8; ++b) byte |= static_cast<unsigned>(row[bit + b] > threshold) << b;
      code[bit / 8] = static_cast<std::uint8_t>(byte);
    }
    if (bit < bits) {
      unsigned byte = 0;
      for (std::size_t b = 0; bit + b < bits; ++b) byte |= static_cast<unsigned>(row[bit + b] > threshold) << b;
      code[bit / 8] = static_cast<std::uint8_t>(byte);
    }
  }
}

}  // namespace

void pack(const float* values, std::size_t n, int n_bits, float threshold, std::uint8_t* codes, int threads) {
  pack_rows(values, n, n_bits, threshold, codes, threads);
}

void pack(const std::int8_t* values, std::size_t n, int n_bits, std::int8_t threshold, std::uint8_t* codes,
          int threads) {
  pack_rows(values, n, n_bits, threshold, codes, threads);
}

void unpack(const std::uint8_t* codes, std::size_t n, int n_bits, std::uint8_t* bits, int threads) {
  const std::size_t n_bytes = bytes_per_code(n_bits);
  const auto width = static_cast<std::size_t>(n_bits);
  const bool parallel = n * width > serial_values;
#pragma omp parallel for schedule(static) num_threads(resolve_threads(threads)) if (parallel)
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t bit = 0; bit < width; ++bit)
      bits[i * width + bit] = (codes[i * n_bytes + bit / 8] >> (bit % 8)) & 1u;
}

bool has_padding_bits(const std::uint8_t* codes, std::size_t n, int n_bits) {
  if (n_bits % 8 == 0) return false;
  const std::size_t n_bytes = bytes_per_code(n_bits);
  const auto padding = static_cast<std::uint8_t>(0xFFu << (n_bits % 8));
  for (std::size_t i = 0; i < n; ++i)
    if (codes[(i + 1) * n_bytes - 1] & padding) return true;
  return false;
}

void bytes_to_words(const std::uint8_t* code, int n_bits, std::uint64_t* words) {
  words[words_per_code(n_bits) - 1] = 0;
  std::memcpy(words, code, bytes_per_code(n_bits));
}

}  // namespace simskip
