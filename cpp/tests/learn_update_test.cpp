#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "update.hpp"

namespace learn = simskip::learn;

namespace {

struct Values {
  std::vector<float> value, gradient, first, second;

  explicit Values(std::size_t n) : value(n), gradient(n), first(n), second(n) {
    std::mt19937 engine(7);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < n; ++i) {
      value[i] = normal(engine);
      gradient[i] = normal(engine);
      first[i] = 0.1f * normal(engine);
      second[i] = std::abs(normal(engine));
    }
  }
};

}  // namespace

TEST(LearnUpdate, AdamIsItsFormulaForEveryLength) {
  const learn::AdamUpdate update{2e-3f, 1.5f, 0.02f, 0.99f};
  for (const std::size_t n : {0u, 1u, 3u, 8u, 15u, 16u, 17u, 100u}) {
    Values values(n + 1);  // one more, which must not change
    const Values before = values;
    update(values.value.data(), values.gradient.data(), values.first.data(), values.second.data(),
           static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
      const double g = before.gradient[i] + 0.02 * before.value[i];
      const double first = 0.9 * before.first[i] + 0.1 * g, second = 0.999 * before.second[i] + 0.001 * g * g;
      const double value = 0.99 * before.value[i] - 2e-3 * first / (std::sqrt(second) * 1.5 + 1e-8);
      EXPECT_NEAR(values.first[i], first, 1e-6) << n;
      EXPECT_NEAR(values.second[i], second, 1e-6) << n;
      EXPECT_NEAR(values.value[i], value, 1e-6) << n;
    }
    EXPECT_EQ(values.value[n], before.value[n]);
    EXPECT_EQ(values.first[n], before.first[n]);
    EXPECT_EQ(values.second[n], before.second[n]);
  }
}

TEST(LearnUpdate, MomentumIsItsFormula) {
  const learn::MomentumUpdate update{0.1f, 0.02f};
  Values values(37);
  const Values before = values;
  update(values.value.data(), values.gradient.data(), values.first.data(), 36);
  for (std::size_t i = 0; i < 36; ++i) {
    const double first = 0.9 * before.first[i] + before.gradient[i] + 0.02 * before.value[i];
    EXPECT_NEAR(values.first[i], first, 1e-6);
    EXPECT_NEAR(values.value[i], before.value[i] - 0.1 * first, 1e-6);
  }
  EXPECT_EQ(values.value[36], before.value[36]);
}

TEST(LearnUpdate, MomentsFadeToZeroAndNotToDenormals) {
  Values values(40);
  std::fill(values.gradient.begin(), values.gradient.end(), 0.0f);
  const learn::AdamUpdate adam{1e-3f, 1.0f, 0.0f, 1.0f};
  for (int step = 0; step < 1200; ++step)
    adam(values.value.data(), values.gradient.data(), values.first.data(), values.second.data(), 40);
  for (const float first : values.first) EXPECT_EQ(first, 0.0f);
  for (const float second : values.second) EXPECT_GT(second, 0.0f);
  Values others(40);
  std::fill(others.gradient.begin(), others.gradient.end(), 0.0f);
  const learn::MomentumUpdate momentum{1e-3f, 0.0f};
  for (int step = 0; step < 1200; ++step)
    momentum(others.value.data(), others.gradient.data(), others.first.data(), 40);
  for (const float first : others.first) EXPECT_EQ(first, 0.0f);
  // The caller's arithmetic is as it was.
  volatile float smallest = std::numeric_limits<float>::min();
  EXPECT_GT(smallest / 2.0f, 0.0f);
}
