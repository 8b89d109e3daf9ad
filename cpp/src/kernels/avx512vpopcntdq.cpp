// AVX-512 with VPOPCNTDQ: eight words, counted by one instruction.
#include <cstdint>

#include "avx512_lanes.hpp"
#include "near_rows.hpp"
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
const Kernels avx512vpopcntdq{"avx512vpopcntdq", scan<Lanes>, scan_many<Lanes>, dot<Avx512Doubles>,
                              squared_l2<Avx512Doubles>, near_in_runs<Lanes>, near_in_rows};

}  // namespace simskip::kernels
