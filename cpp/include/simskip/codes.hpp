// Packed binary codes: bit i of a code is bit i % 8 of byte i / 8, padding bits are zero.
//
// All functions work on memory owned by the caller, touch nothing else, and may run concurrently on
// disjoint outputs. Cost is linear in n * n_bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simskip {

inline constexpr int max_bits = 4096;

constexpr std::size_t bytes_per_code(int n_bits) { return (static_cast<std::size_t>(n_bits) + 7) / 8; }
constexpr std::size_t words_per_code(int n_bits) { return (static_cast<std::size_t>(n_bits) + 63) / 64; }

// Packs n rows of n_bits values: a bit is 1 where value > threshold.
// values: (n, n_bits) row-major; codes: (n, bytes_per_code(n_bits)).
void pack(const float* values, std::size_t n, int n_bits, float threshold, std::uint8_t* codes, int threads);
void pack(const std::int8_t* values, std::size_t n, int n_bits, std::int8_t threshold, std::uint8_t* codes,
          int threads);

// The inverse: bits (n, n_bits) of 0 and 1.
void unpack(const std::uint8_t* codes, std::size_t n, int n_bits, std::uint8_t* bits, int threads);

// True if a padding bit is set in any of the n codes.
bool has_padding_bits(const std::uint8_t* codes, std::size_t n, int n_bits);

// Copies one packed code into words_per_code(n_bits) zero-padded little-endian words.
void bytes_to_words(const std::uint8_t* code, int n_bits, std::uint64_t* words);

}  // namespace simskip
