// What the two AVX-512 files share: everything but counting bits.
#pragma once

#include <cstdint>
#include <xsimd/xsimd.hpp>

#include "nibbles.hpp"
#include "scan.hpp"
#include "xsimd_doubles.hpp"

namespace simskip::kernels {
namespace {

struct Avx512Lanes {
  using Vec = xsimd::batch<Word, xsimd::avx512bw>;
  static constexpr int lanes = 8;
  // Truth tables of three inputs: 0x96 is their exclusive or, 0xE8 their majority.
  static Vec parity(Vec a, Vec b, Vec c) { return Vec(_mm512_ternarylogic_epi64(a, b, c, 0x96)); }
  static Vec majority(Vec a, Vec b, Vec c) { return Vec(_mm512_ternarylogic_epi64(a, b, c, 0xE8)); }
  // From the new sum instead of the old one, so that no register is copied: a if a == b, else not the new sum.
  static Vec full_add(Vec& sum, Vec a, Vec b) {
    sum = parity(sum, a, b);
    return Vec(_mm512_ternarylogic_epi64(a, b, sum, 0xD4));
  }
  static constexpr int registers = 32, together = 2;
  static bool nonzero(Vec v) { return _mm512_test_epi64_mask(v, v) != 0; }
  static Vec load(const Word* p) { return Vec::load_aligned(p); }
  static Vec load_unaligned(const Word* p) { return Vec::load_unaligned(p); }
  static void store(Word* p, Vec v) { v.store_aligned(p); }
  static Vec splat(Word x) { return Vec(x); }
  static Vec differ(Vec a, Vec b) { return a ^ b; }
  static Vec add(Vec a, Vec b) { return a + b; }
  static Vec unmarked() { return Vec(~Word{0}); }
  static Vec mark(Vec mark, Vec distance, Vec) { return xsimd::min(mark, distance); }
  static bool marked(Vec mark, Vec threshold) { return below(mark, threshold) != 0; }
  static std::uint32_t below(Vec distance, Vec threshold) { return _mm512_cmplt_epu64_mask(distance, threshold); }
};

struct Avx512Doubles : XsimdDoubles<xsimd::avx512bw> {
  static Vec load(const float* p) { return Vec(_mm512_cvtps_pd(_mm256_loadu_ps(p))); }
};

struct Avx512Bytes {
  using Vec = __m512i;
  static constexpr int width = 64;
  static Vec zero() { return _mm512_setzero_si512(); }
  static Vec load(const std::uint8_t* p) { return _mm512_load_si512(p); }
  static Vec table(const std::uint8_t* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Vec lookup(Vec table, Vec index) { return _mm512_shuffle_epi8(table, index); }
  static Vec add(Vec a, Vec b) { return _mm512_add_epi8(a, b); }
  static Vec add_saturated(Vec a, Vec b) { return _mm512_adds_epu8(a, b); }
  static Vec add16(Vec a, Vec b) { return _mm512_add_epi16(a, b); }
  static Vec sub16(Vec a, Vec b) { return _mm512_sub_epi16(a, b); }
  static Vec left8(Vec v) { return _mm512_slli_epi16(v, 8); }
  static Vec right8(Vec v) { return _mm512_srli_epi16(v, 8); }
  static Vec splat(std::uint32_t limit) { return _mm512_set1_epi8(static_cast<char>(limit)); }
  static Vec splat16(std::uint32_t limit) { return _mm512_set1_epi16(static_cast<short>(limit)); }
  static Word near(Vec sum, Vec limit) { return _mm512_cmple_epu8_mask(sum, limit); }
  static Word near16(Vec even, Vec odd, Vec limit) {
    const Vec near_even = _mm512_movm_epi16(_mm512_cmple_epu16_mask(even, limit));
    const Vec near_odd = _mm512_movm_epi16(_mm512_cmple_epu16_mask(odd, limit));
    return _mm512_movepi8_mask(_mm512_mask_blend_epi8(0xAAAAAAAAAAAAAAAA, near_even, near_odd));
  }
};

}  // namespace
}  // namespace simskip::kernels
