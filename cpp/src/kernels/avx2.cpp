// AVX2: four words; bits are counted by looking up nibbles (Mula, Kurz, Lemire, 2018).
#include <cstdint>
#include <xsimd/xsimd.hpp>

#include "contiguous.hpp"
#include "nibbles.hpp"
#include "scan.hpp"
#include "sliced.hpp"
#include "sums.hpp"
#include "xsimd_doubles.hpp"

namespace simskip::kernels {
namespace {

struct Lanes {
  using Vec = xsimd::batch<Word, xsimd::avx2>;
  static constexpr int lanes = 4;
  static constexpr bool byte_counts = true;
  static constexpr int queries[3] = {4, 4, 4};
  static constexpr int blocks[3] = {4, 1, 1};
  static Vec parity(Vec a, Vec b, Vec c) { return a ^ b ^ c; }
  static Vec majority(Vec a, Vec b, Vec c) { return ((a ^ b) & (c ^ b)) ^ b; }
  static Vec full_add(Vec& sum, Vec a, Vec b) {
    const Vec differ = a ^ b, carry = (a & b) | (sum & differ);
    sum = sum ^ differ;
    return carry;
  }
  static constexpr int registers = 16, together = 1;
  static bool nonzero(Vec v) { return !_mm256_testz_si256(v, v); }
  static Vec load(const Word* p) { return Vec::load_aligned(p); }
  static Vec load_unaligned(const Word* p) { return Vec::load_unaligned(p); }
  static void store(Word* p, Vec v) { v.store_aligned(p); }
  static Vec splat(Word x) { return Vec(x); }
  static Vec differ(Vec a, Vec b) { return a ^ b; }
  static Vec add(Vec a, Vec b) { return a + b; }  // byte counts never carry
  static Vec count(Vec v) {
    const __m256i bits = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                          0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i a = _mm256_shuffle_epi8(bits, _mm256_and_si256(v, low));
    const __m256i b = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
    return Vec(_mm256_add_epi8(a, b));
  }
  static Vec total(Vec v) { return Vec(_mm256_sad_epu8(v, _mm256_setzero_si256())); }
  // Distances fill the low half of a lane, so the 32-bit minimum (there is no 64-bit one) orders them.
  static Vec unmarked() { return Vec(0x7FFFFFFF); }
  static Vec mark(Vec mark, Vec distance, Vec) { return Vec(_mm256_min_epi32(mark, distance)); }
  static bool marked(Vec mark, Vec threshold) { return below(mark, threshold) != 0; }
  static std::uint32_t below(Vec distance, Vec threshold) {
    return static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(threshold, distance))));
  }
};

struct Doubles : XsimdDoubles<xsimd::avx2> {
  static Vec load(const float* p) { return Vec(_mm256_cvtps_pd(_mm_loadu_ps(p))); }
};

struct Bytes {
  using Vec = __m256i;
  static constexpr int width = 32;
  static Vec zero() { return _mm256_setzero_si256(); }
  static Vec load(const std::uint8_t* p) { return _mm256_load_si256(reinterpret_cast<const Vec*>(p)); }
  static Vec table(const std::uint8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Vec lookup(Vec table, Vec index) { return _mm256_shuffle_epi8(table, index); }
  static Vec add(Vec a, Vec b) { return _mm256_add_epi8(a, b); }
  static Vec add_saturated(Vec a, Vec b) { return _mm256_adds_epu8(a, b); }
  static Vec add16(Vec a, Vec b) { return _mm256_add_epi16(a, b); }
  static Vec sub16(Vec a, Vec b) { return _mm256_sub_epi16(a, b); }
  static Vec left8(Vec v) { return _mm256_slli_epi16(v, 8); }
  static Vec right8(Vec v) { return _mm256_srli_epi16(v, 8); }
  static Vec splat(std::uint32_t limit) { return _mm256_set1_epi8(static_cast<char>(limit)); }
  static Vec splat16(std::uint32_t limit) { return _mm256_set1_epi16(static_cast<short>(limit)); }
  static Word bits(Vec bytes) { return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes)); }
  static Word near(Vec sum, Vec limit) { return bits(_mm256_cmpeq_epi8(_mm256_min_epu8(sum, limit), sum)); }
  static Word near16(Vec even, Vec odd, Vec limit) {
    const Vec near_even = _mm256_cmpeq_epi16(_mm256_min_epu16(even, limit), even);
    const Vec near_odd = _mm256_cmpeq_epi16(_mm256_min_epu16(odd, limit), odd);
    return bits(_mm256_blendv_epi8(near_even, near_odd, _mm256_set1_epi16(static_cast<short>(0xFF00))));
  }
};

}  // namespace

extern const Kernels avx2;
const Kernels avx2{.isa = "avx2",
                   .scan = scan<Lanes>,
                   .scan_many = scan_many<Lanes>,
                   .scan_runs = contiguous<Lanes>,
                   .dot = dot<Doubles>,
                   .squared_l2 = squared_l2<Doubles>,
                   .split_nibbles = split_nibbles<Lanes>,
                   .near_nibbles = near_nibbles<Bytes>};

}  // namespace simskip::kernels
