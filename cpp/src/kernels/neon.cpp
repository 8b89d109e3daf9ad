// NEON (AArch64): two words, bits counted per byte.
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
  using Vec = xsimd::batch<Word, xsimd::neon64>;
  static constexpr int lanes = 2;
  static constexpr bool byte_counts = true;
  static constexpr int queries[3] = {4, 4, 4};
  static constexpr int blocks[3] = {2, 1, 1};
  static Vec parity(Vec a, Vec b, Vec c) { return a ^ b ^ c; }
  static Vec majority(Vec a, Vec b, Vec c) { return ((a ^ b) & (c ^ b)) ^ b; }
  static bool nonzero(Vec v) { return (v.get(0) | v.get(1)) != 0; }
  static Vec load(const Word* p) { return Vec::load_aligned(p); }
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

}  // namespace

extern const Kernels neon;
const Kernels neon{"neon", scan<Lanes>, scan_many<Lanes>, dot<Doubles>, squared_l2<Doubles>, near_in_runs<Lanes>, near_in_rows};

}  // namespace simskip::kernels
