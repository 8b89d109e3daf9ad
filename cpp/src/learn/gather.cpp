#include "gather.hpp"

#include <ATen/Parallel.h>
#include <c10/util/Half.h>

#include <algorithm>

namespace simskip::learn {
namespace {

constexpr std::int64_t values_per_task = 1 << 15;

template <class Value>
void copy_rows(const Tower& tower, const std::int32_t* rows, std::int64_t n, float* out) {
  const auto* inputs = static_cast<const Value*>(tower.inputs);
  const std::int64_t d = tower.d;
  at::parallel_for(0, n, std::max<std::int64_t>(1, values_per_task / d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Value* in = inputs + rows[i] * d;
      const float scale = tower.row_scale ? tower.row_scale[rows[i]] : 1.0f;
      float* row = out + i * d;
      for (std::int64_t j = 0; j < d; ++j) row[j] = static_cast<float>(in[j]) * scale;
    }
  });
}

}  // namespace

void gather_inputs(const Tower& tower, const std::int32_t* rows, std::int64_t n, at::Tensor& out) {
  if (!out.defined() || out.size(0) != n || out.size(1) != tower.d) out = at::empty({n, tower.d}, at::kFloat);
  if (tower.half) {
    copy_rows<c10::Half>(tower, rows, n, out.data_ptr<float>());
  } else {
    copy_rows<float>(tower, rows, n, out.data_ptr<float>());
  }
}

}  // namespace simskip::learn
