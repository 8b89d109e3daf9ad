#include "random.hpp"

#include <ATen/Parallel.h>

#include <cmath>

#include "instruction_sets.hpp"

namespace simskip::learn {
namespace {
constexpr std::int64_t values_per_task = 1 << 15;

// Compared as signed 32-bit numbers: SSE2 has no unsigned comparison.
SIMSKIP_LOOP void mask(float* out, std::int64_t begin, std::int64_t end, std::int32_t limit, float keep,
                       std::uint32_t key) {
  for (std::int64_t i = begin; i < end; ++i) {
    const auto bits = static_cast<std::int32_t>(uniform_bits(key, static_cast<std::uint32_t>(i)));
    out[i] = bits < limit ? 0.0f : keep;
  }
}

// Two draws give four 16-bit numbers; their sum has variance 4 * (2^16)^2 / 12 and this mean.
SIMSKIP_LOOP void noise(float* __restrict row, std::int64_t d, const float* __restrict deviation, std::uint32_t start,
                        std::uint32_t key) {
  constexpr float mean = 2.0f * 65535.0f, unit = 0x1p-16f * 1.7320508f;
  for (std::int64_t j = 0; j < d; ++j) {
    const std::uint32_t a = uniform_bits(key, start + 2 * static_cast<std::uint32_t>(j));
    const std::uint32_t b = uniform_bits(key, start + 2 * static_cast<std::uint32_t>(j) + 1);
    const auto sum = static_cast<std::int32_t>((a & 0xFFFF) + (a >> 16) + (b & 0xFFFF) + (b >> 16));
    row[j] += deviation[j] * (static_cast<float>(sum) - mean) * unit;
  }
}

void mask_baseline(float* out, std::int64_t begin, std::int64_t end, std::int32_t limit, float keep,
                   std::uint32_t key) {
  mask(out, begin, end, limit, keep, key);
}

void noise_baseline(float* row, std::int64_t d, const float* deviation, std::uint32_t start, std::uint32_t key) {
  noise(row, d, deviation, start, key);
}

SIMSKIP_AVX2 void mask_avx2(float* out, std::int64_t begin, std::int64_t end, std::int32_t limit, float keep,
                            std::uint32_t key) {
  mask(out, begin, end, limit, keep, key);
}

SIMSKIP_AVX2 void noise_avx2(float* row, std::int64_t d, const float* deviation, std::uint32_t start,
                             std::uint32_t key) {
  noise(row, d, deviation, start, key);
}

SIMSKIP_AVX512 void mask_avx512(float* out, std::int64_t begin, std::int64_t end, std::int32_t limit, float keep,
                                std::uint32_t key) {
  mask(out, begin, end, limit, keep, key);
}

SIMSKIP_AVX512 void noise_avx512(float* row, std::int64_t d, const float* deviation, std::uint32_t start,
                                 std::uint32_t key) {
  noise(row, d, deviation, start, key);
}

}  // namespace

std::uint32_t stream_key(std::uint64_t seed, std::uint64_t stream, std::uint64_t step) {
  // splitmix64, once per ingredient.
  std::uint64_t x = 0;
  for (const std::uint64_t part : {seed, stream, step}) {
    x += part + 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    x ^= x >> 31;
  }
  return static_cast<std::uint32_t>(x >> 32);
}

void fill_dropout_mask(float* out, std::int64_t n, double p, std::uint32_t key) {
  static const auto chosen = best_of(mask_baseline, mask_avx2, mask_avx512);
  const auto limit = static_cast<std::int32_t>(std::llround(p * 4294967296.0 - 2147483648.0));
  const auto keep = static_cast<float>(1.0 / (1.0 - p));
  at::parallel_for(0, n, values_per_task,
                   [&](std::int64_t begin, std::int64_t end) { chosen(out, begin, end, limit, keep, key); });
}

void add_noise(float* rows, std::int64_t n, std::int64_t d, const float* deviation, std::uint32_t key) {
  static const auto chosen = best_of(noise_baseline, noise_avx2, noise_avx512);
  at::parallel_for(0, n, std::max<std::int64_t>(1, values_per_task / d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      chosen(rows + i * d, d, deviation, static_cast<std::uint32_t>(2 * i * d), key);
  });
}

std::int64_t uniform_index(std::mt19937_64& engine, std::int64_t n) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::int64_t>((static_cast<Wide>(engine()) * static_cast<Wide>(n)) >> 64);
}

}  // namespace simskip::learn
