#include "matrix_product.hpp"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <vector>

#if defined(__x86_64__)
#include <fbgemm/Utils.h>
#endif

namespace simskip::learn {
namespace {

// Rows and columns of a block. A panel of 64 columns stays in the second-level cache to a depth of 2,000, and its
// accumulators (four vectors by six rows at a time) fill the registers.
constexpr std::int64_t block = 64;
// Less arithmetic than this is not worth waking a thread for.
constexpr std::int64_t flops_per_task = 1 << 21;

#if defined(__x86_64__)

// ATEN_CPU_CAPABILITY counts here too, so that the other path can be tested on any machine.
bool blocks_are_faster() {
  static const bool avx512 = at::get_cpu_capability() == "AVX512";
  return avx512;
}

// A matrix of rows that lie `stride` apart, or the transpose of one.
struct Operand {
  const float* data;
  std::int64_t stride;
  bool transposed;

  explicit Operand(const at::Tensor& matrix)
      : data(matrix.const_data_ptr<float>()), transposed(matrix.stride(1) != 1 && matrix.size(1) > 1) {
    TORCH_CHECK(!transposed || matrix.stride(0) == 1, "matrix product: strides ", matrix.strides());
    // A single row may claim any distance to the next.
    stride = transposed ? std::max(matrix.stride(1), matrix.size(0)) : std::max(matrix.stride(0), matrix.size(1));
  }
};

struct Product {
  std::int64_t m, n, k;
  Operand a, b;
  float* out;
  const float* bias;
  float scale;
  bool add;

  bool symmetric() const {
    return !a.transposed && b.transposed && a.data == b.data && a.stride == b.stride && m == n && !add;
  }

  void kernel(std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns, const float* a_block,
              std::int64_t a_stride, const float* b_panel, std::int64_t b_stride) const {
    at::native::cpublas::brgemm(rows, columns, k, a_stride, b_stride, n, add, a_block, b_panel, out + row * n + column,
                                false);
  }

  // The scale and the bias, while the block is in the cache.
  void finish(std::int64_t row, std::int64_t rows, std::int64_t column, std::int64_t columns) const {
    if (!bias && scale == 1.0f) return;
    for (std::int64_t i = row; i < row + rows; ++i) {
      float* values = out + i * n + column;
      if (bias) {
        for (std::int64_t j = 0; j < columns; ++j) values[j] = values[j] * scale + bias[column + j];
      } else {
        for (std::int64_t j = 0; j < columns; ++j) values[j] *= scale;
      }
    }
  }

  // All rows of some columns; the transpose of b's panel is written out first.
  void columns_from(std::int64_t column, std::vector<float>& buffer) const {
    const std::int64_t columns = std::min(block, n - column);
    const float* panel = b.data + column;
    std::int64_t stride = b.stride;
    if (b.transposed) {
      buffer.resize(static_cast<std::size_t>(k * columns));
      fbgemm::transpose_simd<float>(columns, k, b.data + column * b.stride, b.stride, buffer.data(), columns);
      panel = buffer.data();
      stride = columns;
    }
    const bool half = symmetric();
    for (std::int64_t row = half ? column : 0; row < m; row += block) {
      const std::int64_t rows = std::min(block, m - row);
      kernel(row, rows, column, columns, a.data + row * a.stride, a.stride, panel, stride);
      if (half && row != column) {
        // Before the bias, which is not symmetric.
        fbgemm::transpose_simd<float>(rows, columns, out + row * n + column, n, out + column * n + row, n);
        finish(column, columns, row, rows);
      }
      finish(row, rows, column, columns);
    }
  }

  // All columns of some rows; the transpose of a's panel is written out first.
  void rows_from(std::int64_t row, std::vector<float>& buffer) const {
    const std::int64_t rows = std::min(block, m - row);
    const float* panel = a.data + row * a.stride;
    std::int64_t stride = a.stride;
    if (a.transposed) {
      buffer.resize(static_cast<std::size_t>(rows * k));
      fbgemm::transpose_simd<float>(k, rows, a.data + row, a.stride, buffer.data(), k);
      panel = buffer.data();
      stride = k;
    }
    for (std::int64_t column = 0; column < n; column += block) {
      const std::int64_t columns = std::min(block, n - column);
      kernel(row, rows, column, columns, panel, stride, b.data + column, b.stride);
      finish(row, rows, column, columns);
    }
  }

  void compute() const {
    const std::int64_t row_panels = (m + block - 1) / block, column_panels = (n + block - 1) / block;
    const bool by_rows = a.transposed || (!b.transposed && row_panels > column_panels);
    const std::int64_t panels = by_rows ? row_panels : column_panels;
    const std::int64_t grain = std::max<std::int64_t>(1, flops_per_task * panels / (2 * m * n * k));
    at::parallel_for(0, panels, grain, [&](std::int64_t begin, std::int64_t end) {
      // Kept between calls: the system takes large buffers back and hands out new pages, which costs more than a copy.
      thread_local std::vector<float> buffer;
      for (std::int64_t p = begin; p < end; ++p) {
        if (by_rows) {
          rows_from(p * block, buffer);
        } else {
          // Of half a square the first panels are the longest: every task takes them from both ends.
          columns_from((!symmetric() || p % 2 == 0 ? p : panels - panels % 2 - p) * block, buffer);
        }
      }
    });
  }
};

#endif

void product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias, double scale,
             bool add) {
#if defined(__x86_64__)
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0) && out.dim() == 2 && out.is_contiguous() &&
                  out.size(0) == a.size(0) && out.size(1) == b.size(1) &&
                  (!bias.defined() || bias.numel() == b.size(1)),
              "matrix product: ", a.sizes(), " x ", b.sizes(), " does not give ", out.sizes());
  if (blocks_are_faster() && out.numel() > 0 && a.size(1) > 0) {
    const Product blocks{a.size(0),
                         b.size(1),
                         a.size(1),
                         Operand(a),
                         Operand(b),
                         out.data_ptr<float>(),
                         bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                         static_cast<float>(scale),
                         add};
    if (!(blocks.a.transposed && blocks.b.transposed)) return blocks.compute();
  }
#endif
  if (bias.defined()) {
    at::addmm_out(out, bias, a, b, 1, scale);
  } else {
    at::addmm_out(out, out, a, b, add ? 1 : 0, scale);
  }
}

}  // namespace

void multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias, double scale) {
  product(out, a, b, bias, scale, false);
}

void multiply_add(at::Tensor& out, const at::Tensor& a, const at::Tensor& b) { product(out, a, b, {}, 1.0, true); }

}  // namespace simskip::learn
