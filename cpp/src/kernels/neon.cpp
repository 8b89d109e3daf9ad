// NEON (AArch64): two words, bits counted per byte.
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
  using Vec = xsimd::batch<Word, xsimd::neon64>;
  static constexpr int lanes = 2;
  static constexpr bool byte_counts = true;
  static constexpr int queries[3] = {4, 4, 4};
  static constexpr int blocks[3] = {2, 1, 1};
  static Vec parity(Vec a, Vec b, Vec c) { return a ^ b ^ c; }
  static Vec majority(Vec a, Vec b, Vec c) { return ((a ^ b) & (c ^ b)) ^ b; }
  static Vec full_add(Vec& sum, Vec a, Vec b) {
    const Vec differ = a ^ b, carry = Vec(vbslq_u64(differ, sum, a));
    sum = sum ^ differ;
    return carry;
  }
  static constexpr int registers = 32, together = 1;
  static bool nonzero(Vec v) { return (v.get(0) | v.get(1)) != 0; }
  static Vec load(const Word* p) { return Vec::load_aligned(p); }
  static Vec load_unaligned(const Word* p) { return Vec::load_unaligned(p); }
  static void store(Word* p, Vec v) { v.store_aligned(p); }
  static Vec splat(Word x) { return Vec(x); }
  static Vec differ(Vec a, Vec b) { return a ^ b; }
  static Vec add(Vec a, Vec b) { return a + b; }  // byte counts never carry
  static Vec count(Vec v) { return Vec(vreinterpretq_u64_u8(vcntq_u8(vreinterpretq_u8_u64(v)))); }
  static Vec total(Vec v) { return Vec(vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_u64(v))))); }
  // distance - threshold is negative: the top bits, gathered by or.
  static Vec unmarked() { return splat(0); }
  static Vec mark(Vec mark, Vec distance, Vec threshold) { return mark | (distance - threshold); }
  static bool marked(Vec mark, Vec) { return (mark.get(0) | mark.get(1)) >> 63; }
  static std::uint32_t below(Vec distance, Vec threshold) {
    const Vec difference = distance - threshold;
    return static_cast<std::uint32_t>(difference.get(0) >> 63 | difference.get(1) >> 63 << 1);
  }
};

struct Doubles : XsimdDoubles<xsimd::neon64> {
  static Vec load(const float* p) { return Vec(vcvt_f64_f32(vld1_f32(p))); }
};

struct Bytes {
  using Vec = uint8x16_t;
  static constexpr int width = 16;
  static Vec zero() { return vdupq_n_u8(0); }
  static Vec load(const std::uint8_t* p) { return vld1q_u8(p); }
  static Vec table(const std::uint8_t* p) { return vld1q_u8(p); }
  static Vec lookup(Vec table, Vec index) { return vqtbl1q_u8(table, index); }
  static Vec add(Vec a, Vec b) { return vaddq_u8(a, b); }
  static Vec add_saturated(Vec a, Vec b) { return vqaddq_u8(a, b); }
  static Vec add16(Vec a, Vec b) { return of(vaddq_u16(as16(a), as16(b))); }
  static Vec sub16(Vec a, Vec b) { return of(vsubq_u16(as16(a), as16(b))); }
  static Vec left8(Vec v) { return of(vshlq_n_u16(as16(v), 8)); }
  static Vec right8(Vec v) { return of(vshrq_n_u16(as16(v), 8)); }
  static Vec splat(std::uint32_t limit) { return vdupq_n_u8(static_cast<std::uint8_t>(limit)); }
  static Vec splat16(std::uint32_t limit) { return of(vdupq_n_u16(static_cast<std::uint16_t>(limit))); }
  static Word near(Vec sum, Vec limit) { return bits(vcleq_u8(sum, limit)); }
  static Word near16(Vec even, Vec odd, Vec limit) {
    const Vec near_even = of(vcleq_u16(as16(even), as16(limit)));
    const Vec near_odd = of(vcleq_u16(as16(odd), as16(limit)));
    return bits(vbslq_u8(of(vdupq_n_u16(0x00FF)), near_even, near_odd));
  }

 private:
  static uint16x8_t as16(Vec v) { return vreinterpretq_u16_u8(v); }
  static Vec of(uint16x8_t v) { return vreinterpretq_u8_u16(v); }
  // Bytes are all ones or all zeros. Few are ones, so gathering the bits may take a while.
  static Word bits(Vec bytes) {
    // Four bits per byte (there is no movemask).
    Word left = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(as16(bytes), 4)), 0) & 0x1111111111111111;
    Word found = 0;
    for (; left; left &= left - 1) found |= Word{1} << (__builtin_ctzll(left) / 4);
    return found;
  }
};

}  // namespace

extern const Kernels neon;
const Kernels neon{.isa = "neon",
                   .scan = scan<Lanes>,
                   .scan_many = scan_many<Lanes>,
                   .scan_runs = contiguous<Lanes>,
                   .dot = dot<Doubles>,
                   .squared_l2 = squared_l2<Doubles>,
                   .split_nibbles = split_nibbles<Lanes>,
                   .near_nibbles = near_nibbles<Bytes>};

}  // namespace simskip::kernels
