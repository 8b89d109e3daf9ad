// Products of float matrices as a training step needs them: small, several of them a step, with little around them.
//
// torch hands them to MKL, which on other makers' processors stops at AVX2. Where AVX-512 is there, the products are
// cut into blocks here and oneDNN's kernels for such blocks do the arithmetic, through torch (`cpublas::brgemm`):
// about twice as fast on such a processor. Elsewhere it is at::addmm and at::mm.
#pragma once

#include <ATen/ATen.h>

namespace simskip::learn {

// out = scale * a b + bias, with `bias` one row or nothing (undefined). a: (m, k), b: (k, n), out: (m, n), all float32
// and out contiguous; a and b contiguous or transposes of contiguous matrices, which are read as they lie. `out` must
// overlap neither. Of x x^T only one half is computed. Every element is summed by one thread in one order, so with
// AVX-512 the result does not depend on their number.
// Throws c10::Error (a std::exception) if shapes do not fit.
void multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias = {},
              double scale = 1.0);

// out += a b, otherwise the same.
void multiply_add(at::Tensor& out, const at::Tensor& a, const at::Tensor& b);

}  // namespace simskip::learn
