// AVX-512 F, BW, DQ, VL: eight words; bits are counted by looking up nibbles (Mula, Kurz, Lemire, 2018).
#include <cstdint>

#include "avx512_lanes.hpp"
#include "contiguous.hpp"
#include "sliced.hpp"
#include "sums.hpp"

namespace simskip::kernels {
namespace {

struct Lanes : Avx512Lanes {
  static constexpr bool byte_counts = true;
  static constexpr int queries[3] = {4, 4, 4};
  static constexpr int blocks[3] = {8, 2, 1};
  static Vec count(Vec v) {
    const __m512i bits = _mm512_set4_epi32(0x04030302, 0x03020201, 0x03020201, 0x02010100);
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i a = _mm512_shuffle_epi8(bits, _mm512_and_si512(v, low));
    const __m512i b = _mm512_shuffle_epi8(bits, _mm512_and_si512(_mm512_srli_epi16(v, 4), low));
    return Vec(_mm512_add_epi8(a, b));
  }
  static Vec total(Vec v) { return Vec(_mm512_sad_epu8(v, _mm512_setzero_si512())); }
};

}  // namespace

extern const Kernels avx512bw;
const Kernels avx512bw{.isa = "avx512bw",
                       .scan = scan<Lanes>,
                       .scan_many = scan_many<Lanes>,
                       .scan_runs = contiguous<Lanes>,
                       .dot = dot<Avx512Doubles>,
                       .squared_l2 = squared_l2<Avx512Doubles>,
                       .split_nibbles = split_nibbles<Lanes>,
                       .near_nibbles = near_nibbles<Avx512Bytes>};

}  // namespace simskip::kernels
