#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "random.hpp"

namespace learn = simskip::learn;

TEST(LearnRandom, MasksAreTheSameOnEveryProcessor) {
  const std::uint32_t key = learn::stream_key(1, 2, 3);
  for (const std::int64_t n : {1, 15, 16, 33, 40000}) {
    std::vector<float> mask(static_cast<std::size_t>(n) + 1, 7.0f);
    learn::fill_dropout_mask(mask.data(), n, 0.25, key);
    std::int64_t dropped = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      // A quarter of the 32-bit numbers, in the order of signed ones: the lowest quarter begins at the middle.
      const bool drop = (learn::uniform_bits(key, static_cast<std::uint32_t>(i)) ^ 0x80000000u) < 0x40000000u;
      ASSERT_EQ(mask[static_cast<std::size_t>(i)], drop ? 0.0f : static_cast<float>(1 / 0.75)) << n << ", " << i;
      dropped += drop;
    }
    EXPECT_EQ(mask.back(), 7.0f);
    if (n == 40000) {
      EXPECT_NEAR(static_cast<double>(dropped), 10000, 450);  // 5 standard deviations
    }
  }
}

TEST(LearnRandom, NoiseIsItsFormulaForEveryWidth) {
  const std::uint32_t key = learn::stream_key(4, 5, 6);
  for (const std::int64_t d : {1, 7, 16, 50}) {
    constexpr std::int64_t n = 3;
    std::vector<float> rows(static_cast<std::size_t>(n * d) + 1, 1.0f), deviation(static_cast<std::size_t>(d), 0.5f);
    learn::add_noise(rows.data(), n, d, deviation.data(), key);
    for (std::int64_t i = 0; i < n * d; ++i) {
      double sum = 0;
      for (const std::uint32_t draw : {learn::uniform_bits(key, static_cast<std::uint32_t>(2 * i)),
                                       learn::uniform_bits(key, static_cast<std::uint32_t>(2 * i + 1))})
        sum += static_cast<double>(draw & 0xFFFF) + static_cast<double>(draw >> 16);
      const double expected = 1.0 + 0.5 * (sum - 2 * 65535.0) / (65536.0 * std::sqrt(4.0 / 12.0));
      EXPECT_NEAR(rows[static_cast<std::size_t>(i)], expected, 1e-5) << d << ", " << i;
    }
    EXPECT_EQ(rows.back(), 1.0f);
  }
}
