// Exact sums of float products, once for all instruction sets. Each file supplies `Doubles`:
//
//   Vec, lanes              a register of `lanes` doubles (1, 2, 4 or 8)
//   load                    `lanes` floats, widened
//   zero, add, sub, mul, store
//
// Element i goes to partial sum i % 16 on every instruction set, and the 16 are added up in one fixed order.
#pragma once

#include <cstdint>

namespace simskip::kernels {
namespace {

inline constexpr std::uint32_t partial_sums = 16;

template <class D, bool Difference>
[[gnu::always_inline]] inline double sum_of_products(const float* a, const float* b, std::uint32_t dim) {
  constexpr std::uint32_t registers = partial_sums / D::lanes;
  typename D::Vec sum[registers];
  for (std::uint32_t r = 0; r < registers; ++r) sum[r] = D::zero();
  const auto step = [&](const float* x, const float* y) {
#pragma GCC unroll 16
    for (std::uint32_t r = 0; r < registers; ++r) {
      const typename D::Vec u = D::load(x + r * D::lanes);
      const typename D::Vec v = D::load(y + r * D::lanes);
      if constexpr (Difference) {
        const typename D::Vec d = D::sub(u, v);
        sum[r] = D::add(sum[r], D::mul(d, d));
      } else {
        sum[r] = D::add(sum[r], D::mul(u, v));
      }
    }
  };
  std::uint32_t i = 0;
  for (; i + partial_sums <= dim; i += partial_sums) step(a + i, b + i);
  if (i < dim) {
    float x[partial_sums] = {}, y[partial_sums] = {};  // zeros add nothing
    for (std::uint32_t r = 0; i + r < dim; ++r) {
      x[r] = a[i + r];
      y[r] = b[i + r];
    }
    step(x, y);
  }
  double partial[partial_sums];
  for (std::uint32_t r = 0; r < registers; ++r) D::store(partial + r * D::lanes, sum[r]);
  for (std::uint32_t width = partial_sums / 2; width; width /= 2)
    for (std::uint32_t r = 0; r < width; ++r) partial[r] += partial[r + width];
  return partial[0];
}

template <class D>
double dot(const float* a, const float* b, std::uint32_t dim) {
  return sum_of_products<D, false>(a, b, dim);
}

template <class D>
double squared_l2(const float* a, const float* b, std::uint32_t dim) {
  return sum_of_products<D, true>(a, b, dim);
}

}  // namespace
}  // namespace simskip::kernels
