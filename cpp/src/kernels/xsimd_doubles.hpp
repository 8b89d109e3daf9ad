// `Doubles` of sums.hpp on any xsimd architecture, but for load(): xsimd converts floats one by one.
#pragma once

#include <cstdint>
#include <xsimd/xsimd.hpp>

namespace simskip::kernels {
namespace {

template <class Arch>
struct XsimdDoubles {
  using Vec = xsimd::batch<double, Arch>;
  static constexpr std::uint32_t lanes = Vec::size;
  static Vec zero() { return Vec(0.0); }
  static Vec add(Vec a, Vec b) { return a + b; }
  static Vec sub(Vec a, Vec b) { return a - b; }
  static Vec mul(Vec a, Vec b) { return a * b; }
  static void store(double* p, Vec v) { v.store_unaligned(p); }
};

}  // namespace
}  // namespace simskip::kernels
