// AVX2: four words; bits are counted by looking up nibbles (Mula, Kurz, Lemire, 2018).
#include <cstdint>
#include <xsimd/xsimd.hpp>

#include "near_rows.hpp"
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
  static constexpr int blocks[3] = {2, 1, 1};
  static Vec parity(Vec a, Vec b, Vec c) { return a ^ b ^ c; }
  static Vec majority(Vec a, Vec b, Vec c) { return ((a ^ b) & (c ^ b)) ^ b; }
  static bool nonzero(Vec v) { return !_mm256_testz_si256(v, v); }
  static Vec load(const Word* p) { return Vec::load_aligned(p); }
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

}  // namespace

extern const Kernels avx2;
const Kernels avx2{"avx2", scan<Lanes>, scan_many<Lanes>, dot<Doubles>, squared_l2<Doubles>, near_in_runs<Lanes>, near_in_rows};

}  // namespace simskip::kernels
