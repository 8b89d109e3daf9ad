#include "simskip/codes.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace simskip {
namespace {

TEST(Codes, SizesRoundUp) {
  EXPECT_EQ(bytes_per_code(1), 1u);
  EXPECT_EQ(bytes_per_code(8), 1u);
  EXPECT_EQ(bytes_per_code(9), 2u);
  EXPECT_EQ(words_per_code(64), 1u);
  EXPECT_EQ(words_per_code(65), 2u);
  EXPECT_EQ(words_per_code(max_bits), 64u);
}

TEST(Codes, BitsStandInLittleOrder) {
  const float values[] = {1, -1, 1, 1, -1, -1, -1, -1, 1};
  std::uint8_t code[2];
  pack(values, 1, 9, 0.0f, code, 1);
  EXPECT_EQ(code[0], 0b00001101);
  EXPECT_EQ(code[1], 1);
}

class BitCounts : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Codes, BitCounts, ::testing::Values(1, 7, 8, 9, 31, 63, 64, 65, 100, 200, 1985, 4096));

TEST_P(BitCounts, UnpackInvertsPackForAnyThreads) {
  const int bits = GetParam();
  // Enough values that several threads take part.
  const std::size_t n = 70000 / static_cast<std::size_t>(bits) + 3;
  std::mt19937 engine(static_cast<unsigned>(bits));
  std::vector<float> values(n * static_cast<std::size_t>(bits));
  for (float& v : values) v = static_cast<float>(static_cast<int>(engine() % 5) - 2);
  for (const int threads : {1, 2, 3}) {
    std::vector<std::uint8_t> codes(n * bytes_per_code(bits), 0xFF), unpacked(values.size(), 7);
    pack(values.data(), n, bits, 0.0f, codes.data(), threads);
    EXPECT_FALSE(has_padding_bits(codes.data(), n, bits));
    unpack(codes.data(), n, bits, unpacked.data(), threads);
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(unpacked[i], values[i] > 0) << "value " << i;

    std::vector<std::int8_t> small(values.begin(), values.end());
    std::vector<std::uint8_t> same(codes.size(), 0xFF);
    pack(small.data(), n, bits, std::int8_t{0}, same.data(), threads);
    EXPECT_EQ(same, codes);
  }
}

TEST_P(BitCounts, WordsAreThePaddedBytes) {
  const int bits = GetParam();
  std::mt19937 engine(1);
  std::vector<std::uint8_t> code(bytes_per_code(bits));
  for (auto& byte : code) byte = static_cast<std::uint8_t>(engine());
  std::vector<std::uint64_t> words(words_per_code(bits), ~std::uint64_t{0});
  bytes_to_words(code.data(), bits, words.data());
  for (std::size_t b = 0; b < words.size() * 8; ++b)
    EXPECT_EQ(words[b / 8] >> (8 * (b % 8)) & 0xFF, b < code.size() ? code[b] : 0);
}

TEST_P(BitCounts, EachPaddingBitIsFound) {
  const int bits = GetParam();
  const std::size_t bytes = bytes_per_code(bits), n = 3;
  for (std::size_t bit = 0; bit < bytes * 8; ++bit) {
    std::vector<std::uint8_t> codes(n * bytes);
    codes[bytes + bit / 8] = static_cast<std::uint8_t>(1u << (bit % 8));
    EXPECT_EQ(has_padding_bits(codes.data(), n, bits), bit >= static_cast<std::size_t>(bits));
  }
}

TEST(Codes, ThresholdIsStrict) {
  const float inf = std::numeric_limits<float>::infinity(), tiny = std::numeric_limits<float>::denorm_min();
  const float values[] = {-inf, -1.0f, -tiny, -0.0f, 0.0f, tiny, 1.0f, inf};
  const auto packed = [&](float threshold) {
    std::uint8_t code;
    pack(values, 1, 8, threshold, &code, 1);
    return code;
  };
  EXPECT_EQ(packed(0.0f), 0b11100000);
  EXPECT_EQ(packed(-0.0f), 0b11100000);
  EXPECT_EQ(packed(inf), 0);
  EXPECT_EQ(packed(-inf), 0b11111110);
  EXPECT_EQ(packed(1.0f), 0b10000000);
}

TEST(Codes, NoRowsAreFine) {
  pack(static_cast<const float*>(nullptr), 0, 9, 0.0f, nullptr, 2);
  unpack(nullptr, 0, 9, nullptr, 2);
  EXPECT_FALSE(has_padding_bits(nullptr, 0, 9));
}

}  // namespace
}  // namespace simskip
