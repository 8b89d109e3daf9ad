// Any processor: the compiler's portable vectors of two words (SSE2 on x86-64).
#include <cstdint>

#include "contiguous.hpp"
#include "scan.hpp"
#include "sliced.hpp"
#include "sums.hpp"

namespace simskip::kernels {
namespace {

struct Lanes {
  typedef Word Vec __attribute__((vector_size(16)));
  static constexpr int lanes = 2;
  static constexpr bool byte_counts = true;
  static constexpr int queries[3] = {2, 2, 2};
  static constexpr int blocks[3] = {2, 1, 1};
  static Vec parity(Vec a, Vec b, Vec c) { return a ^ b ^ c; }
  static Vec majority(Vec a, Vec b, Vec c) { return ((a ^ b) & (c ^ b)) ^ b; }
  static Vec full_add(Vec& sum, Vec a, Vec b) {
    const Vec differ = a ^ b, carry = (a & b) | (sum & differ);
    sum = sum ^ differ;
    return carry;
  }
  static constexpr int registers = 16, together = 1;
  static bool nonzero(Vec v) { return (v[0] | v[1]) != 0; }
  static Vec load(const Word* p) { return *reinterpret_cast<const Vec*>(p); }
  static Vec load_unaligned(const Word* p) {
    typedef Word Unaligned __attribute__((vector_size(16), aligned(8)));
    return *reinterpret_cast<const Unaligned*>(p);
  }
  static void store(Word* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
  static Vec splat(Word x) { return Vec{x, x}; }
  static Vec differ(Vec a, Vec b) { return a ^ b; }
  static Vec add(Vec a, Vec b) { return a + b; }
  // Sums of neighbouring bits, pairs, nibbles (Warren, Hacker's Delight, 5-1).
  static Vec count(Vec v) {
    v -= (v >> 1) & splat(0x5555555555555555);
    v = (v & splat(0x3333333333333333)) + ((v >> 2) & splat(0x3333333333333333));
    return (v + (v >> 4)) & splat(0x0F0F0F0F0F0F0F0F);
  }
  static Vec total(Vec v) {
    v = (v & splat(0x00FF00FF00FF00FF)) + ((v >> 8) & splat(0x00FF00FF00FF00FF));
    v += v >> 16;
    return (v + (v >> 32)) & splat(0xFFFF);
  }
  // distance - threshold is negative: the top bits, gathered by or.
  static Vec unmarked() { return splat(0); }
  static Vec mark(Vec mark, Vec distance, Vec threshold) { return mark | (distance - threshold); }
  static bool marked(Vec mark, Vec) { return (mark[0] | mark[1]) >> 63; }
  static std::uint32_t below(Vec distance, Vec threshold) {
    const Vec sign = (distance - threshold) >> 63;
    return static_cast<std::uint32_t>(sign[0] | sign[1] << 1);
  }
};

struct Doubles {
  typedef double Vec __attribute__((vector_size(16)));
  static constexpr std::uint32_t lanes = 2;
  static Vec zero() { return Vec{0, 0}; }
  static Vec load(const float* p) { return Vec{p[0], p[1]}; }
  static Vec add(Vec a, Vec b) { return a + b; }
  static Vec sub(Vec a, Vec b) { return a - b; }
  static Vec mul(Vec a, Vec b) { return a * b; }
  static void store(double* p, Vec v) {
    p[0] = v[0];
    p[1] = v[1];
  }
};

}  // namespace

extern const Kernels baseline;
const Kernels baseline{.isa = "baseline",
                       .scan = scan<Lanes>,
                       .scan_many = scan_many<Lanes>,
                       .scan_runs = contiguous<Lanes>,
                       .dot = dot<Doubles>,
                       .squared_l2 = squared_l2<Doubles>,
                       .split_nibbles = nullptr,
                       .near_nibbles = nullptr};

}  // namespace simskip::kernels
