#include "simskip/top_k.hpp"

#include <gtest/gtest.h>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

void expect_equal(const Neighbors& found, const Neighbors& expected, const std::string& what) {
  ASSERT_EQ(found.distances, expected.distances) << what;
  ASSERT_EQ(found.ids, expected.ids) << what;
}

// All kernels, both ways to split the work.
void expect_exact(const PackedCodes& codes, const PackedCodes& queries, std::size_t k, SearchOptions options,
                  const std::vector<int>& thread_counts = {1, 2, 3}) {
  const IsaGuard guard;
  const CodeBlocks blocks = to_blocks(codes);
  const Neighbors expected = oracle_top_k(codes, queries, k, options);
  for (const auto& isa : available_isas()) {
    force_isa(isa);
    for (const int threads : thread_counts) {
      options.threads = threads;
      expect_equal(top_k(blocks, queries.bytes.data(), queries.n, k, options), expected,
                   isa + ", " + std::to_string(codes.n_bits) + " bits, k " + std::to_string(k) + ", threads " +
                       std::to_string(threads) + ", queries " + std::to_string(queries.n));
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

// Byte counts of 31 words are added up before they are spread: 1984 bits fill that bound, 1985 begin another round.
std::vector<int> bit_counts() {
  std::vector<int> bits;
  for (int b = 1; b <= 512; ++b) bits.push_back(b);
  for (int b : {513, 1023, 1024, 1025, 1983, 1984, 1985, 2047, 2048, 2049, 3968, 3969, 4095, 4096}) bits.push_back(b);
  return bits;
}

TEST(TopK, EveryBitCount) {
  for (const int bits : bit_counts()) {
    const PackedCodes codes = make_codes(Kind::random, bits, 150, static_cast<unsigned>(bits));
    expect_exact(codes, make_codes(Kind::random, bits, 6, 1000), 25, {}, {1});
    if (HasFatalFailure()) return;
  }
}

TEST(TopK, LargestDistancesAtEveryBitCount) {
  for (const int bits : bit_counts()) {
    expect_exact(make_codes(Kind::extremes, bits, 70, static_cast<unsigned>(bits)),
                 make_codes(Kind::extremes, bits, 5, 7), 70, {}, {1});
    if (HasFatalFailure()) return;
  }
}

class Kinds : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(TopK, Kinds, ::testing::ValuesIn(all_kinds));

TEST_P(Kinds, EveryKAndSplit) {
  for (const int bits : {20, 64, 100, 256, 2048}) {
    // Rows enough that a team of threads is worth it at any width (serial_work), and no multiple of 64 rows.
    const std::size_t n = bits > 256 ? 1500 : 2500;
    const PackedCodes codes = make_codes(GetParam(), bits, n, 11);
    const PackedCodes all_queries = make_codes(GetParam(), bits, 140, 12);
    for (const std::size_t n_queries : {1, 3, 140}) {
      PackedCodes queries(bits, n_queries);
      std::copy_n(all_queries.bytes.begin(), queries.bytes.size(), queries.bytes.begin());
      for (const std::size_t k : {std::size_t{1}, std::size_t{25}, n, n + 5}) {
        if (k > 25 && n_queries > 3) continue;
        expect_exact(codes, queries, k, {});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(Kinds, BigEnoughToSplitTheDatabase) {
  // 64 bits: 130,000 word operations per query pass the serial limit.
  const PackedCodes codes = make_codes(GetParam(), 64, 140001, 13);
  expect_exact(codes, make_codes(GetParam(), 64, 2, 14), 25, {});
}

// Enough rows and queries for guessed thresholds, and every number of words that is bit-sliced (and one that is not).
TEST_P(Kinds, ManyQueriesOfManyRows) {
  for (const int bits : {3, 64, 65, 128, 150, 192, 200, 256, 300, 512}) {
    const PackedCodes codes = make_codes(GetParam(), bits, 8900, 21);
    for (const std::size_t k : {1, 100}) {
      expect_exact(codes, make_codes(GetParam(), bits, 17, 22), k, {}, {1});
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Kinds, ManyQueriesWithAFilter) {
  const std::size_t n = 20000;
  const PackedCodes codes = make_codes(GetParam(), 64, n, 23), queries = make_codes(GetParam(), 64, 40, 24);
  for (const unsigned every : {1u, 2u, 50u}) {
    std::vector<std::uint64_t> allowed(CodeBlocks::padded_rows(n) / 64);
    for (std::size_t row = 0; row < n; ++row)
      if (row % every == every / 2) allowed[row / 64] |= std::uint64_t{1} << (row % 64);
    for (const int farthest : {0, 12, SearchOptions::max_distance_any}) {
      SearchOptions options;
      options.allowed = allowed.data();
      options.max_distance = farthest;
      expect_exact(codes, queries, 25, options, {1, 2});
      if (HasFatalFailure()) return;
    }
  }
}

// Rows ordered by distance, or by cluster: any part of the database is unlike the rest.
TEST(TopK, ManyQueriesOfASortedDatabase) {
  const std::size_t n = 16384;
  PackedCodes sorted(64, n), clusters(64, n);
  std::mt19937 engine(25);
  for (std::size_t i = 0; i < n; ++i) {
    for (int bit = 0; bit < static_cast<int>(i * 64 / n); ++bit) sorted.flip(i, bit);
    if (i % 128 == 0) {
      for (int bit = 0; bit < 64; ++bit)
        if (engine() & 1) clusters.flip(i, bit);
    } else {
      std::copy_n(clusters.row(i / 128 * 128), 8, clusters.row(i));
      for (int flips = 0; flips < 5; ++flips) clusters.flip(i, static_cast<int>(engine() % 64));
    }
  }
  PackedCodes queries(64, 32), members(64, 32);
  for (std::size_t q = 0; q < 32; ++q) {
    for (int bit = 0; bit < static_cast<int>(2 * q); ++bit) queries.flip(q, bit);
    std::copy_n(clusters.row(q * 500), 8, members.row(q));
  }
  for (const std::size_t k : {1, 25, 100, 400}) {
    expect_exact(sorted, queries, k, {});
    expect_exact(clusters, members, k, {});
    if (HasFatalFailure()) return;
  }
}

TEST_P(Kinds, AllowedRowsAndFarthestDistance) {
  const std::size_t n = 1000;
  for (const int bits : {9, 64, 130}) {
    const PackedCodes codes = make_codes(GetParam(), bits, n, 15), queries = make_codes(GetParam(), bits, 5, 16);
    for (const unsigned every : {1u, 2u, 7u, 500u, 5000u}) {
      std::vector<std::uint64_t> allowed(CodeBlocks::padded_rows(n) / 64);
      for (std::size_t row = 0; row < n; ++row)
        if (row % every == every / 2) allowed[row / 64] |= std::uint64_t{1} << (row % 64);
      for (const int farthest : {0, 1, bits / 3, bits, SearchOptions::max_distance_any}) {
        SearchOptions options;
        options.allowed = allowed.data();
        options.max_distance = farthest;
        expect_exact(codes, queries, 25, options, {1, 3});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(TopK, BitsOfAllowedPastTheLastRowMeanNothing) {
  const PackedCodes codes = make_codes(Kind::all_equal, 64, 70, 1);
  std::vector<std::uint64_t> allowed(2, ~std::uint64_t{0});
  SearchOptions options;
  options.allowed = allowed.data();
  expect_exact(codes, make_codes(Kind::all_equal, 64, 1, 1), 200, options);
}

TEST(TopK, NegativeDistanceMeansNoHits) {
  const PackedCodes codes = make_codes(Kind::all_equal, 64, 70, 1);
  for (const int farthest : {-1, -2, -1000}) {
    SearchOptions options;
    options.max_distance = farthest;
    expect_exact(codes, codes, 3, options);
  }
}

TEST(TopK, NoRowsOrNoQueries) {
  const CodeBlocks empty(64);
  const std::uint64_t query = 5;
  const Neighbors found = top_k(empty, reinterpret_cast<const std::uint8_t*>(&query), 1, 3, {});
  EXPECT_EQ(found.ids, std::vector<std::int64_t>(3, no_id));
  EXPECT_EQ(found.distances, std::vector<std::int32_t>(3, no_distance));
  const CodeBlocks some = to_blocks(make_codes(Kind::random, 64, 10, 1));
  EXPECT_TRUE(top_k(some, nullptr, 0, 3, {}).ids.empty());
  EXPECT_EQ(range(some, nullptr, 0, {}).limits, std::vector<std::int64_t>{0});
}

TEST_P(Kinds, RangeIsEveryRowWithinTheRadius) {
  const IsaGuard guard;
  for (const int bits : {5, 64, 129, 1985}) {
    const PackedCodes codes = make_codes(GetParam(), bits, 700, 17), queries = make_codes(GetParam(), bits, 6, 18);
    const CodeBlocks blocks = to_blocks(codes);
    const std::vector<std::uint64_t> odd(CodeBlocks::padded_rows(codes.n) / 64, 0xAAAAAAAAAAAAAAAA);
    for (const std::uint64_t* allowed : {static_cast<const std::uint64_t*>(nullptr), odd.data()})
      for (const int radius : {0, bits / 4, bits / 2, bits}) {
        SearchOptions options;
        options.max_distance = radius;
        options.allowed = allowed;
        Range expected;
        expected.limits = {0};
        for (std::size_t q = 0; q < queries.n; ++q) {
          for (const auto& [d, row] : sorted_rows(codes, queries.row(q), options)) {
            expected.distances.push_back(d);
            expected.ids.push_back(row);
          }
          expected.limits.push_back(static_cast<std::int64_t>(expected.ids.size()));
        }
        for (const auto& isa : available_isas()) {
          force_isa(isa);
          for (const int threads : {1, 3}) {
            options.threads = threads;
            const Range found = range(blocks, queries.bytes.data(), queries.n, options);
            ASSERT_EQ(found.limits, expected.limits) << isa << ", radius " << radius;
            ASSERT_EQ(found.distances, expected.distances) << isa;
            ASSERT_EQ(found.ids, expected.ids) << isa;
          }
        }
      }
  }
}

TEST(TopK, AnswersAnInterrupt) {
  const PackedCodes codes = make_codes(Kind::clustered, 64, 200000, 19), queries = make_codes(Kind::random, 64, 5, 20);
  const CodeBlocks blocks = to_blocks(codes);
  for (const int threads : {1, 3}) {
    Interrupt interrupt([] { return true; });
    SearchOptions options;
    options.threads = threads;
    options.interrupt = &interrupt;
    // The poll comes every 20 ms at most; searches are repeated until one runs into it.
    EXPECT_THROW(for (int i = 0; i < 100000; ++i) top_k(blocks, queries.bytes.data(), queries.n, 25, options),
                 Interrupted);
    EXPECT_THROW(range(blocks, queries.bytes.data(), queries.n, options), Interrupted) << "stays requested";
    options.interrupt = nullptr;
    expect_equal(top_k(blocks, queries.bytes.data(), queries.n, 25, options), oracle_top_k(codes, queries, 25, options),
                 "after an interrupt");
  }
}

}  // namespace
}  // namespace simskip::testing
