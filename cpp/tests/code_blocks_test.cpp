#include "simskip/code_blocks.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

void expect_rows(const CodeBlocks& blocks, const PackedCodes& codes) {
  ASSERT_EQ(blocks.size(), codes.n);
  std::vector<std::uint8_t> code(bytes_per_code(codes.n_bits));
  for (std::size_t i = 0; i < codes.n; ++i) {
    blocks.read(i, code.data());
    ASSERT_EQ(std::memcmp(code.data(), codes.row(i), code.size()), 0) << "row " << i;
  }
}

class Blocks : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(CodeBlocks, Blocks, ::testing::Values(1, 8, 63, 64, 65, 200, 256, 4096));

TEST_P(Blocks, AppendsInPiecesEqualOneAppend) {
  const PackedCodes codes = make_codes(Kind::random, GetParam(), 333, 1);
  CodeBlocks pieces(codes.n_bits);
  for (std::size_t at = 0, step = 0; at < codes.n; at += step) {
    step = std::min<std::size_t>(1 + at / 2, codes.n - at);
    pieces.append(codes.row(at), step);
  }
  pieces.append(nullptr, 0);
  expect_rows(pieces, codes);
  const CodeBlocks whole = to_blocks(codes);
  ASSERT_EQ(pieces.nbytes(), whole.nbytes());
  EXPECT_EQ(std::memcmp(pieces.data(), whole.data(), whole.nbytes()), 0) << "padding rows differ";
}

TEST_P(Blocks, LayoutIsWordPlanarAndAligned) {
  const PackedCodes codes = make_codes(Kind::random, GetParam(), 70, 2);
  const CodeBlocks blocks = to_blocks(codes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(blocks.data()) % 64, 0u);
  EXPECT_EQ(blocks.nbytes(), 128 * words_per_code(codes.n_bits) * 8);
  std::vector<std::uint64_t> words(blocks.words());
  for (std::size_t i = 0; i < codes.n; ++i) {
    bytes_to_words(codes.row(i), codes.n_bits, words.data());
    for (std::size_t w = 0; w < words.size(); ++w)
      ASSERT_EQ(blocks.data()[(i / 8 * words.size() + w) * 8 + i % 8], words[w]);
  }
}

TEST_P(Blocks, GatherTakesRowsInOrder) {
  const PackedCodes codes = make_codes(Kind::random, GetParam(), 100, 3);
  const std::vector<std::uint32_t> rows = {99, 0, 0, 50, 7};
  PackedCodes expected(codes.n_bits, rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(codes.row(rows[i]), bytes_per_code(codes.n_bits), expected.row(i));
  CodeBlocks gathered = to_blocks(codes).gather(rows.data(), rows.size());
  expect_rows(gathered, expected);
  EXPECT_EQ(to_blocks(codes).gather(nullptr, 0).size(), 0u);
}

TEST_P(Blocks, SharedMemoryIsCopiedBeforeAChange) {
  const PackedCodes codes = make_codes(Kind::random, GetParam(), 65, 4);
  const auto own = std::make_shared<const CodeBlocks>(to_blocks(codes));
  const std::vector<std::uint64_t> before(own->data(), own->data() + own->nbytes() / 8);
  CodeBlocks shared(codes.n_bits, codes.n, std::shared_ptr<const std::uint64_t>(own, own->data()));
  expect_rows(shared, codes);
  EXPECT_EQ(shared.data(), own->data());
  PackedCodes longer(codes.n_bits, codes.n + 1);
  std::copy(codes.bytes.begin(), codes.bytes.end(), longer.bytes.begin());
  longer.flip(codes.n, 0);
  shared.append(longer.row(codes.n), 1);
  expect_rows(shared, longer);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), own->data()));
}

TEST(CodeBlocks, BigStoresGrowAcrossHugePages) {
  const PackedCodes codes = make_codes(Kind::random, 512, 20000, 5);
  CodeBlocks blocks(512);
  for (std::size_t at = 0; at < codes.n; at += 4000) blocks.append(codes.row(at), 4000);
  EXPECT_GE(blocks.nbytes(), std::size_t{1} << 20);
  expect_rows(blocks, codes);
}

TEST(CodeBlocks, TooManyCodesThrowBeforeAnyWork) {
  CodeBlocks blocks(8);
  const std::uint8_t code = 1;
  blocks.append(&code, 1);
  EXPECT_THROW(blocks.append(&code, CodeBlocks::max_size), std::length_error);
  EXPECT_EQ(blocks.size(), 1u);
}

}  // namespace
}  // namespace simskip::testing
