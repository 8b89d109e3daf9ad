// Random numbers that depend on (seed, stream, position) only: the same for any thread count, and cheap enough to
// draw a fresh dropout mask for every step. torch's generators are serial and shared with the user.
#pragma once

#include <cstdint>
#include <random>

namespace simskip::learn {

// One 32-bit key for a seed and the numbers that name a stream (layer, step).
std::uint32_t stream_key(std::uint64_t seed, std::uint64_t stream, std::uint64_t step);

// Position -> uniform 32 bits: two rounds of the "lowbias32" integer hash (C. Wellons, 2018).
inline std::uint32_t uniform_bits(std::uint32_t key, std::uint32_t position) {
  std::uint32_t x = position * 0x9E3779B9u + key;
  x ^= x >> 16;
  x *= 0x7FEB352Du;
  x ^= x >> 15;
  x *= 0x846CA68Bu;
  x ^= x >> 16;
  return x;
}

// out[i] = 0 with probability p, else 1 / (1 - p).
void fill_dropout_mask(float* out, std::int64_t n, double p, std::uint32_t key);

// rows[i][j] += deviation[j] * noise with mean 0 and variance 1: the sum of four uniform numbers, which is close
// to normal (kurtosis 2.7 instead of 3) and needs no logarithm.
void add_noise(float* rows, std::int64_t n, std::int64_t d, const float* deviation, std::uint32_t key);

// An integer in [0, n), the same on every platform (std::uniform_int_distribution is not). The bias is below
// n / 2^64.
std::int64_t uniform_index(std::mt19937_64& engine, std::int64_t n);

}  // namespace simskip::learn
