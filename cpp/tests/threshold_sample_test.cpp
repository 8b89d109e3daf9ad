#include "threshold_sample.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

constexpr std::size_t n = 20000, n_queries = 40;

std::vector<const std::uint64_t*> pointers(const std::vector<std::uint64_t>& queries) {
  std::vector<const std::uint64_t*> result;
  for (const std::uint64_t& query : queries) result.push_back(&query);
  return result;
}

TEST(ThresholdSample, EveryPrefixIsSpreadOverTheDatabase) {
  const CodeBlocks blocks = to_blocks(PackedCodes(8, n));
  const std::vector<std::uint32_t> rows = ThresholdSample::choose_rows(blocks, 25, n_queries, {});
  ASSERT_EQ(rows.size(), n / 8);
  for (std::size_t prefix : {rows.size() / 16, rows.size() / 4, rows.size()}) {
    std::vector<std::uint32_t> sorted(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(prefix));
    std::sort(sorted.begin(), sorted.end());
    EXPECT_TRUE(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end()) << "a row came twice";
    for (std::size_t i = 1; i < prefix; ++i) EXPECT_LT(sorted[i] - sorted[i - 1], 3 * n / prefix);
  }
}

TEST(ThresholdSample, NoneWhereItWouldNotPay) {
  const CodeBlocks blocks = to_blocks(PackedCodes(8, n));
  EXPECT_TRUE(ThresholdSample::choose_rows(blocks, 25, 0, {}).empty());
  EXPECT_TRUE(ThresholdSample::choose_rows(blocks, 25, 15, {}).empty());
  EXPECT_TRUE(ThresholdSample::choose_rows(blocks, n / 4, n_queries, {}).empty());
  EXPECT_TRUE(ThresholdSample::choose_rows(to_blocks(PackedCodes(8, 8000)), 25, n_queries, {}).empty());
}

TEST(ThresholdSample, TakesOnlyAllowedRows) {
  const CodeBlocks blocks = to_blocks(PackedCodes(8, n));
  const std::vector<std::uint64_t> odd(CodeBlocks::padded_rows(n) / 64, 0xAAAAAAAAAAAAAAAA);
  SearchOptions options;
  options.allowed = odd.data();
  const std::vector<std::uint32_t> rows = ThresholdSample::choose_rows(blocks, 25, n_queries, options);
  EXPECT_NEAR(static_cast<double>(rows.size()), n / 16.0, n / 100.0);
  for (const std::uint32_t row : rows) EXPECT_EQ(row % 2, 1u);
}

TEST(ThresholdSample, LeavesKRowsButNotManyMore) {
  const PackedCodes codes = make_codes(Kind::random, 64, n, 1);
  const CodeBlocks blocks = to_blocks(codes);
  const PackedCodes packed = make_codes(Kind::random, 64, n_queries, 2);
  std::vector<std::uint64_t> queries(n_queries);
  for (std::size_t q = 0; q < n_queries; ++q) bytes_to_words(packed.row(q), 64, &queries[q]);
  for (const std::size_t k : {1, 25, 100}) {
    const ThresholdSample sample(blocks, k, n_queries, {});
    ASSERT_FALSE(sample.empty());
    std::vector<std::uint32_t> thresholds(n_queries, 65);
    sample.lower(pointers(queries).data(), thresholds.data(), n_queries);
    std::size_t wrong = 0;
    for (std::size_t q = 0; q < n_queries; ++q) {
      SearchOptions within;
      within.max_distance = static_cast<int>(thresholds[q]) - 1;
      const std::size_t below = sorted_rows(codes, packed.row(q), within).size();
      wrong += below < k;
      EXPECT_LT(below, 20 * k + 500) << "k " << k;
    }
    EXPECT_LE(wrong, 2u) << "k " << k;
  }
}

TEST(ThresholdSample, ManyEqualDistances) {
  const CodeBlocks blocks = to_blocks(PackedCodes(64, n));
  const std::vector<std::uint64_t> queries(n_queries, 7);
  std::vector<std::uint32_t> thresholds(n_queries, 65);
  thresholds[1] = 3;  // lower than what the sample says
  ThresholdSample(blocks, 25, n_queries, {}).lower(pointers(queries).data(), thresholds.data(), n_queries);
  for (std::size_t q = 0; q < n_queries; ++q) EXPECT_EQ(thresholds[q], q == 1 ? 3u : 4u);
}

// All rows near the queries are in the sample, so that it promises many more of them than there are.
TEST(ThresholdSample, AWrongGuessCostsNoHits) {
  const IsaGuard guard;
  PackedCodes codes = make_codes(Kind::random, 64, n, 3);
  const PackedCodes queries(64, n_queries);
  const std::size_t k = 100;
  const std::vector<std::uint32_t> rows = ThresholdSample::choose_rows(to_blocks(codes), k, n_queries, {});
  for (std::size_t i = 0; i < 40; ++i) std::fill_n(codes.row(rows[i]), 8, std::uint8_t{0});
  const CodeBlocks blocks = to_blocks(codes);
  const std::vector<std::uint64_t> zeros(n_queries, 0);
  std::vector<std::uint32_t> thresholds(n_queries, 65);
  ThresholdSample(blocks, k, n_queries, {}).lower(pointers(zeros).data(), thresholds.data(), n_queries);
  ASSERT_EQ(thresholds, std::vector<std::uint32_t>(n_queries, 1)) << "the guess is meant to be wrong";
  const Neighbors expected = oracle_top_k(codes, queries, k, {});
  for (const auto& isa : available_isas()) {
    force_isa(isa);
    const Neighbors found = top_k(blocks, queries.bytes.data(), queries.n, k, {});
    EXPECT_EQ(found.distances, expected.distances) << isa;
    EXPECT_EQ(found.ids, expected.ids) << isa;
  }
}

}  // namespace
}  // namespace simskip::testing
