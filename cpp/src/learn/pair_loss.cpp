#include "pair_loss.hpp"

#include <ATen/Parallel.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace simskip::learn {
namespace {
constexpr std::int64_t rows_per_task = 16;
}

double pair_cross_entropy(at::Tensor& logits, const at::Tensor& targets, double alike, double unlike) {
  const std::int64_t n = logits.size(0);
  float* const x = logits.data_ptr<float>();
  const float* const t = targets.data_ptr<float>();
  const auto weight_alike = static_cast<float>(alike), weight_unlike = static_cast<float>(unlike);
  std::vector<double> losses(static_cast<std::size_t>(n), 0.0);
  at::parallel_for(0, n, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      double sum = 0.0;
      for (std::int64_t k = i * n; k < (i + 1) * n; ++k) {
        const float value = x[k], target = t[k];
        if (k == i * n + i) {
          x[k] = 0.0f;
          continue;
        }
        const float weight = target >= 0.5f ? weight_alike : weight_unlike;
        // One exponential that cannot overflow gives the logarithm and its slope.
        const float e = std::exp(-std::abs(value));
        sum += weight * ((value > 0 ? value : 0.0f) + std::log1p(e) - target * value);
        x[k] = weight * ((value > 0 ? 1.0f : e) / (1.0f + e) - target);
      }
      losses[static_cast<std::size_t>(i)] = sum;
    }
  });
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

}  // namespace simskip::learn
