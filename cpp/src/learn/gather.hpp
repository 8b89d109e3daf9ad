// Rows of the caller's matrices become the batch's tensors.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "simskip/learn/trainer.hpp"

namespace simskip::learn {

// out: (n, d) float32, the tower's rows times their scales. Allocates only if the size changes.
void gather_inputs(const Tower& tower, const std::int32_t* rows, std::int64_t n, at::Tensor& out);

// out: (n, width) or (n), the rows of a (., width) array.
template <class To, class From>
void gather_rows(const From* values, std::int64_t width, const std::int32_t* rows, std::int64_t n, To* out) {
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < width; ++j) out[i * width + j] = static_cast<To>(values[rows[i] * width + j]);
}

}  // namespace simskip::learn
