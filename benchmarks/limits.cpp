// What this machine allows, measured by the plainest loops: reading memory, and xor + popcount + minimum of codes that
// lie in the first-level cache. Compiled by limits.py when it measures; one function per instruction set.
//
// compare_ISA(codes, query, words, n_blocks, rounds): codes of `words` 64-bit words, word-planar in blocks of eight,
// against one query; returns the least distance. n_blocks is a multiple of 4: four blocks at a time keep the latency
// of the minimum out of the measurement.
//
// The minimum stands for a scan's comparison with its threshold; what a scan collects costs more.
#include <cstddef>
#include <cstdint>

namespace {

using Words = const std::uint64_t*;

inline Words block(Words codes, std::size_t b, int n_words, int w) {
  return codes + (b * static_cast<std::size_t>(n_words) + static_cast<std::size_t>(w)) * 8;
}

// The number of words as a constant, so that the compiler unrolls the loop over them.
template <template <int> class Compare>
std::uint64_t dispatch(Words codes, Words query, int words, std::size_t n_blocks, int rounds) {
  switch (words) {
    case 1:
      return Compare<1>::run(codes, query, n_blocks, rounds);
    case 2:
      return Compare<2>::run(codes, query, n_blocks, rounds);
    case 4:
      return Compare<4>::run(codes, query, n_blocks, rounds);
    default:
      return ~std::uint64_t{0};
  }
}

std::uint64_t least(const std::uint64_t* values, int n) {
  std::uint64_t found = values[0];
  for (int i = 1; i < n; ++i) found = values[i] < found ? values[i] : found;
  return found;
}

}  // namespace

#if defined(__x86_64__)
#include <immintrin.h>

namespace {

// Set bits of each byte by two table lookups (Mula), as instruction sets without a vector popcount must do it.
__attribute__((target("avx2"))) inline __m256i popcount(__m256i v) {
  const __m256i table =
      _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, low)),
                         _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
}

__attribute__((target("avx512bw"))) inline __m512i popcount(__m512i v) {
  const __m512i table = _mm512_set4_epi32(0x04030302, 0x03020201, 0x03020201, 0x02010100);
  const __m512i low = _mm512_set1_epi8(15);
  return _mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(v, low)),
                         _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), low)));
}

template <int W>
struct Vpopcntdq {
  __attribute__((target("avx512vpopcntdq,avx512bw"))) static std::uint64_t run(Words codes, Words query,
                                                                               std::size_t n_blocks, int rounds) {
    __m512i nearest[4];
    for (__m512i& v : nearest) v = _mm512_set1_epi64(-1);
    for (int r = 0; r < rounds; ++r)
      for (std::size_t b = 0; b < n_blocks; b += 4)
        for (int i = 0; i < 4; ++i) {
          __m512i sum = _mm512_setzero_si512();
          for (int w = 0; w < W; ++w)
            sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(
                                            _mm512_loadu_si512(block(codes, b + static_cast<std::size_t>(i), W, w)),
                                            _mm512_set1_epi64(static_cast<long long>(query[w])))));
          nearest[i] = _mm512_min_epu64(nearest[i], sum);
        }
    alignas(64) std::uint64_t values[8];
    _mm512_store_si512(
        values, _mm512_min_epu64(_mm512_min_epu64(nearest[0], nearest[1]), _mm512_min_epu64(nearest[2], nearest[3])));
    return least(values, 8);
  }
};

template <int W>
struct Avx512bw {
  __attribute__((target("avx512bw"))) static std::uint64_t run(Words codes, Words query, std::size_t n_blocks,
                                                               int rounds) {
    __m512i nearest[4];
    for (__m512i& v : nearest) v = _mm512_set1_epi64(-1);
    for (int r = 0; r < rounds; ++r)
      for (std::size_t b = 0; b < n_blocks; b += 4)
        for (int i = 0; i < 4; ++i) {
          __m512i sum = _mm512_setzero_si512();
          for (int w = 0; w < W; ++w)  // bytes hold up to 32 for four words
            sum = _mm512_add_epi8(
                sum, popcount(_mm512_xor_si512(_mm512_loadu_si512(block(codes, b + static_cast<std::size_t>(i), W, w)),
                                               _mm512_set1_epi64(static_cast<long long>(query[w])))));
          nearest[i] = _mm512_min_epu64(nearest[i], _mm512_sad_epu8(sum, _mm512_setzero_si512()));
        }
    alignas(64) std::uint64_t values[8];
    _mm512_store_si512(
        values, _mm512_min_epu64(_mm512_min_epu64(nearest[0], nearest[1]), _mm512_min_epu64(nearest[2], nearest[3])));
    return least(values, 8);
  }
};

template <int W>
struct Avx2 {
  __attribute__((target("avx2"))) static std::uint64_t run(Words codes, Words query, std::size_t n_blocks, int rounds) {
    __m256i nearest[8];
    for (__m256i& v : nearest) v = _mm256_set1_epi32(0x7FFFFFFF);
    for (int r = 0; r < rounds; ++r)
      for (std::size_t b = 0; b < n_blocks; b += 4)
        for (int i = 0; i < 8; ++i) {
          __m256i sum = _mm256_setzero_si256();
          for (int w = 0; w < W; ++w)
            sum = _mm256_add_epi8(sum, popcount(_mm256_xor_si256(
                                           _mm256_loadu_si256(reinterpret_cast<const __m256i*>(
                                               block(codes, b + static_cast<std::size_t>(i / 2), W, w) + i % 2 * 4)),
                                           _mm256_set1_epi64x(static_cast<long long>(query[w])))));
          // Sums fit into 32 bits, so their minimum is that of the 64.
          nearest[i] = _mm256_min_epu32(nearest[i], _mm256_sad_epu8(sum, _mm256_setzero_si256()));
        }
    for (int i = 1; i < 8; ++i) nearest[0] = _mm256_min_epu32(nearest[0], nearest[i]);
    alignas(32) std::uint64_t values[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(values), nearest[0]);
    return least(values, 4);
  }
};

}  // namespace

extern "C" std::uint64_t compare_avx512vpopcntdq(Words codes, Words query, int words, std::size_t n_blocks,
                                                 int rounds) {
  return dispatch<Vpopcntdq>(codes, query, words, n_blocks, rounds);
}
extern "C" std::uint64_t compare_avx512bw(Words codes, Words query, int words, std::size_t n_blocks, int rounds) {
  return dispatch<Avx512bw>(codes, query, words, n_blocks, rounds);
}
extern "C" std::uint64_t compare_avx2(Words codes, Words query, int words, std::size_t n_blocks, int rounds) {
  return dispatch<Avx2>(codes, query, words, n_blocks, rounds);
}

#elif defined(__aarch64__)
#include <arm_neon.h>

namespace {

template <int W>
struct Neon {
  static std::uint64_t run(Words codes, Words query, std::size_t n_blocks, int rounds) {
    uint32x4_t nearest[4];
    for (uint32x4_t& v : nearest) v = vdupq_n_u32(~0u);
    for (int r = 0; r < rounds; ++r)
      for (std::size_t b = 0; b < n_blocks; ++b)
        for (int i = 0; i < 4; ++i) {
          uint8x16_t sum = vdupq_n_u8(0);
          for (int w = 0; w < W; ++w)
            sum = vaddq_u8(sum, vcntq_u8(vreinterpretq_u8_u64(
                                    veorq_u64(vld1q_u64(block(codes, b, W, w) + 2 * i), vdupq_n_u64(query[w])))));
          nearest[i] = vminq_u32(nearest[i], vreinterpretq_u32_u64(vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(sum)))));
        }
    std::uint64_t values[4];
    for (int i = 0; i < 4; ++i) {
      const uint64x2_t v = vreinterpretq_u64_u32(nearest[i]);
      values[i] =
          vgetq_lane_u32(nearest[i], 0) < vgetq_lane_u32(nearest[i], 2) ? vgetq_lane_u64(v, 0) : vgetq_lane_u64(v, 1);
      values[i] &= 0xFFFFFFFF;
    }
    return least(values, 4);
  }
};

}  // namespace

extern "C" std::uint64_t compare_neon(Words codes, Words query, int words, std::size_t n_blocks, int rounds) {
  return dispatch<Neon>(codes, query, words, n_blocks, rounds);
}
#endif

namespace {

template <int W>
struct Baseline {
  static std::uint64_t run(Words codes, Words query, std::size_t n_blocks, int rounds) {
    std::uint64_t nearest = ~std::uint64_t{0};
    for (int r = 0; r < rounds; ++r)
      for (std::size_t b = 0; b < n_blocks; ++b)
        for (int lane = 0; lane < 8; ++lane) {
          std::uint64_t sum = 0;
          for (int w = 0; w < W; ++w)
            sum += static_cast<std::uint64_t>(__builtin_popcountll(block(codes, b, W, w)[lane] ^ query[w]));
          nearest = sum < nearest ? sum : nearest;
        }
    return nearest;
  }
};

}  // namespace

extern "C" std::uint64_t compare_baseline(Words codes, Words query, int words, std::size_t n_blocks, int rounds) {
  return dispatch<Baseline>(codes, query, words, n_blocks, rounds);
}

// Reads n words, a multiple of 64, once per round; the result keeps the compiler from leaving that out.
extern "C" std::uint64_t read_memory(Words words, std::size_t n, int rounds) {
  typedef std::uint64_t Lanes __attribute__((vector_size(32), aligned(8)));
  Lanes a{}, b{}, c{}, d{};
  for (int r = 0; r < rounds; ++r)
    for (std::size_t i = 0; i < n; i += 64) {
      const auto* at = reinterpret_cast<const Lanes*>(words + i);
      a ^= at[0] ^ at[1] ^ at[2] ^ at[3];
      b ^= at[4] ^ at[5] ^ at[6] ^ at[7];
      c ^= at[8] ^ at[9] ^ at[10] ^ at[11];
      d ^= at[12] ^ at[13] ^ at[14] ^ at[15];
    }
  a ^= b ^ c ^ d;
  return a[0] ^ a[1] ^ a[2] ^ a[3];
}
