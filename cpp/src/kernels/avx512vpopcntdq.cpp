// AVX-512 with VPOPCNTDQ: eight words, counted by one instruction.
#include <cstdint>

#include "avx512_lanes.hpp"
#include "contiguous.hpp"
#include "sliced.hpp"
#include "sums.hpp"

namespace simskip::kernels {
namespace {

struct Lanes : Avx512Lanes {
  static constexpr bool byte_counts = false;
  static constexpr int queries[3] = {4, 4, 4};
  static constexpr int blocks[3] = {4, 2, 1};
  static Vec count(Vec v) { return Vec(_mm512_popcnt_epi64(v)); }
  static Vec total(Vec v) { return v; }
};

}  // namespace

extern const Kernels avx512vpopcntdq;
const Kernels avx512vpopcntdq{.isa = "avx512vpopcntdq",
                              .scan = scan<Lanes>,
                              .scan_many = scan_many<Lanes>,
                              .scan_runs = contiguous<Lanes>,
                              .dot = dot<Avx512Doubles>,
                              .squared_l2 = squared_l2<Avx512Doubles>,
                              .split_nibbles = split_nibbles<Lanes>,
                              .near_nibbles = near_nibbles<Avx512Bytes>};

}  // namespace simskip::kernels
