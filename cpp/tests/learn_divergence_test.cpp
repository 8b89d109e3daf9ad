#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "divergence.hpp"

namespace learn = simskip::learn;

namespace {

std::vector<double> softmax(const std::vector<float>& logits, std::size_t self) {
  double top = -1e300, sum = 0.0;
  for (std::size_t j = 0; j < logits.size(); ++j)
    if (j != self) top = std::max(top, static_cast<double>(logits[j]));
  std::vector<double> p(logits.size(), 0.0);
  for (std::size_t j = 0; j < logits.size(); ++j)
    if (j != self) sum += p[j] = std::exp(static_cast<double>(logits[j]) - top);
  for (double& value : p) value /= sum;
  return p;
}

}  // namespace

TEST(LearnDivergence, IsItsFormulaForEveryLength) {
  std::mt19937 engine(5);
  std::normal_distribution<float> normal;
  for (const std::size_t n : {2u, 3u, 15u, 16u, 17u, 18u, 64u, 924u})
    for (const float spread : {0.1f, 3.0f, 60.0f})  // the last: most probabilities vanish
      for (const std::size_t self : {std::size_t{0}, n / 2, n - 1}) {
        std::vector<float> target(n), model(n);
        for (float& v : target) v = spread * normal(engine) + 50.0f;
        for (float& v : model) v = spread / 2 * normal(engine) - 30.0f;
        const std::vector<float> before = model;
        const std::vector<double> p = softmax(target, self), q = softmax(model, self);
        // One more, which must not change.
        target.push_back(1.0f);
        model.push_back(1.0f);
        const learn::Divergence found = learn::diverge(target.data(), model.data(), static_cast<std::int64_t>(n),
                                                       static_cast<std::int64_t>(self), 0.25f);
        double value = 0.0, slope = 0.0, sizes = 0.0;
        for (std::size_t j = 0; j < n; ++j) {
          if (j == self) continue;
          if (p[j] > 0 && q[j] > 0) value += p[j] * (std::log(p[j]) - std::log(q[j]));
          const double gradient = 0.25 * (q[j] - p[j]);
          slope += gradient * static_cast<double>(before[j]);
          sizes += std::abs(gradient * static_cast<double>(before[j]));
          ASSERT_NEAR(model[j], gradient, 2e-6) << n << " spread " << spread << " self " << self << " at " << j;
        }
        EXPECT_EQ(model[self], 0.0f);
        EXPECT_EQ(model[n], 1.0f);
        EXPECT_EQ(target[n], 1.0f);
        EXPECT_NEAR(found.value, value, 2e-5 * (1 + spread + value)) << n << " spread " << spread;
        EXPECT_NEAR(found.slope, slope, 1e-5 * (1 + sizes)) << n << " spread " << spread;
      }
}

TEST(LearnDivergence, OfEqualRowsIsZero) {
  std::vector<float> target{3.0f, -1.0f, 0.5f, 2.0f, -7.0f}, model = target;
  const learn::Divergence found = learn::diverge(target.data(), model.data(), 5, 1, 1.0f);
  EXPECT_NEAR(found.value, 0.0, 1e-6);
  for (const float gradient : model) EXPECT_NEAR(gradient, 0.0f, 1e-7f);
}

TEST(LearnDivergence, FarLogitsHaveNoProbability) {
  // e^-90 is a float, but below what the exponential keeps; no overflow, no NaN.
  std::vector<float> target{0.0f, 100.0f, 10.0f}, model{0.0f, -1000.0f, 1000.0f};
  const learn::Divergence found = learn::diverge(target.data(), model.data(), 3, 0, 1.0f);
  EXPECT_FLOAT_EQ(model[1], -1.0f);
  EXPECT_FLOAT_EQ(model[2], 1.0f);
  EXPECT_FLOAT_EQ(static_cast<float>(found.value), 2000.0f);
}
