#include "simskip/multi_index.hpp"

#include <thread>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

// Both ways to decide, several threads, all kernels.
void expect_exact(const PackedCodes& codes, const PackedCodes& queries, std::size_t k, SearchOptions options = {}) {
  const IsaGuard guard;
  const CodeBlocks blocks = to_blocks(codes);
  const MultiIndex index(blocks, 2, nullptr);
  const Neighbors expected = oracle_top_k(codes, queries, k, options);
  for (const auto& isa : available_isas()) {
    force_isa(isa);
    for (const bool always : {true, false})
      for (const int threads : {1, 3}) {
        options.threads = threads;
        const Neighbors found = index.top_k(blocks, queries.bytes.data(), queries.n, k, options, always, nullptr);
        ASSERT_EQ(found.distances, expected.distances)
            << isa << ", " << codes.n_bits << " bits, k " << k << ", n " << codes.n << ", always " << always;
        ASSERT_EQ(found.ids, expected.ids)
            << isa << ", " << codes.n_bits << " bits, k " << k << ", n " << codes.n << ", always " << always;
      }
  }
}

std::vector<int> bit_counts() {
  std::vector<int> bits;
  for (int b = 1; b <= 160; ++b) bits.push_back(b);
  for (int b : {191, 192, 193, 255, 256, 257, 320, 500, 512, 1000, 4095, 4096}) bits.push_back(b);
  return bits;
}

TEST(MultiIndex, EveryBitCount) {
  for (const int bits : bit_counts()) {
    expect_exact(make_codes(Kind::clustered, bits, 300, static_cast<unsigned>(bits)),
                 make_codes(Kind::clustered, bits, 5, static_cast<unsigned>(bits)), 10);
    expect_exact(make_codes(Kind::random, bits, 150, static_cast<unsigned>(bits)),
                 make_codes(Kind::random, bits, 3, 1000), 7);
    if (HasFatalFailure()) return;
  }
}

class MultiIndexKinds : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(MultiIndex, MultiIndexKinds, ::testing::ValuesIn(all_kinds));

TEST_P(MultiIndexKinds, EverySizeAndK) {
  for (const int bits : {5, 16, 64, 100})
    for (const std::size_t n : {1, 2, 3, 8, 63, 64, 65, 1000})
      for (const std::size_t k : {std::size_t{1}, std::size_t{2}, std::size_t{25}, n, n + 3}) {
        const PackedCodes codes = make_codes(GetParam(), bits, n, static_cast<unsigned>(n));
        PackedCodes queries = make_codes(GetParam(), bits, 6, 99);
        std::copy_n(codes.row(0), bytes_per_code(bits), queries.row(0));
        expect_exact(codes, queries, k);
        if (HasFatalFailure()) return;
      }
}

TEST_P(MultiIndexKinds, DistancesAndFilters) {
  const PackedCodes codes = make_codes(GetParam(), 64, 3000, 1), queries = make_codes(GetParam(), 64, 20, 2);
  std::vector<std::uint64_t> few(CodeBlocks::padded_rows(codes.n) / 64, 0x0000000000000101),
      none(few.size(), 0), most(few.size(), 0xFFFFFFF7FFFFFFFF);
  for (const std::uint64_t* allowed : {static_cast<const std::uint64_t*>(nullptr), std::as_const(few).data(),
                                       std::as_const(none).data(), std::as_const(most).data()})
    for (const int max_distance : {-1, 0, 1, 3, 10, 64, SearchOptions::max_distance_any}) {
      SearchOptions options;
      options.allowed = allowed;
      options.max_distance = max_distance;
      expect_exact(codes, queries, 25, options);
      if (HasFatalFailure()) return;
    }
}

TEST_P(MultiIndexKinds, RangeEqualsScan) {
  for (const int bits : {13, 64, 130}) {
    const PackedCodes codes = make_codes(GetParam(), bits, 2000, 1), queries = make_codes(GetParam(), bits, 20, 1);
    const CodeBlocks blocks = to_blocks(codes);
    const MultiIndex index(blocks, 1, nullptr);
    for (const int radius : {0, 1, 2, 5, bits}) {
      SearchOptions options;
      options.max_distance = radius;
      const Range expected = range(blocks, queries.bytes.data(), queries.n, options);
      for (const bool always : {true, false}) {
        const Range found = index.range(blocks, queries.bytes.data(), queries.n, options, always, nullptr);
        ASSERT_EQ(found.limits, expected.limits) << bits << " bits, radius " << radius;
        ASSERT_EQ(found.distances, expected.distances);
        ASSERT_EQ(found.ids, expected.ids);
      }
    }
  }
}

TEST(MultiIndex, LongRowsAndManyTiesUnderOneValue) {
  // All rows share their first substrings and are far from each other in the last.
  PackedCodes codes(64, 20'000);
  for (std::size_t i = 0; i < codes.n; ++i)
    for (int bit = 0; bit < 15; ++bit)
      if (i >> bit & 1) codes.flip(i, 63 - bit);
  expect_exact(codes, make_codes(Kind::random, 64, 4, 3), 30);
  PackedCodes near(64, 4);
  for (std::size_t i = 0; i < near.n; ++i) near.flip(i, static_cast<int>(i));
  for (const std::size_t k : {1, 600, 5000}) expect_exact(codes, near, k);
}

TEST(MultiIndex, SeesFewRowsWhereTheyAreClustered) {
  PackedCodes codes = make_codes(Kind::random, 64, 200'000, 5);
  for (std::size_t i = 1000; i < codes.n; ++i) {
    std::copy_n(codes.row(i % 1000), 8, codes.row(i));
    codes.flip(i, static_cast<int>(i * 7 % 64));
    codes.flip(i, static_cast<int>(i * 13 % 64));
  }
  PackedCodes queries(64, 100);
  for (std::size_t q = 0; q < queries.n; ++q) std::copy_n(codes.row(q), 8, queries.row(q));
  const CodeBlocks blocks = to_blocks(codes);
  const MultiIndex index(blocks, 1, nullptr);
  SearchStats stats;
  const Neighbors found = index.top_k(blocks, queries.bytes.data(), queries.n, 10, {}, false, &stats);
  const Neighbors expected = top_k(blocks, queries.bytes.data(), queries.n, 10, {});
  EXPECT_EQ(found.ids, expected.ids);
  EXPECT_EQ(stats.queries, queries.n);
  EXPECT_EQ(stats.scanned, 0u);
  EXPECT_GT(stats.values, queries.n);
  EXPECT_LT(stats.rows_seen, queries.n * codes.n / 50);
}

TEST(MultiIndex, GivesUpForTheScanWhereItSeesTooMuch) {
  const PackedCodes codes = make_codes(Kind::all_equal, 64, 100'000, 5), queries = make_codes(Kind::random, 64, 300, 6);
  const CodeBlocks blocks = to_blocks(codes);
  const MultiIndex index(blocks, 1, nullptr);
  SearchStats stats;
  index.top_k(blocks, queries.bytes.data(), queries.n, 10, {}, false, &stats);
  EXPECT_EQ(stats.queries, queries.n);
  EXPECT_EQ(stats.scanned, queries.n);
}

TEST(MultiIndex, MemoryIsWithinItsBound) {
  for (const int bits : {8, 48, 64, 65, 128, 256})
    for (const std::size_t n : {1, 100, 5000, 100'000}) {
      const MultiIndex index(to_blocks(make_codes(Kind::random, bits, n, 1)), 2, nullptr);
      EXPECT_LE(index.nbytes(), n * index.substrings() * (bits <= 64 ? 14 : 6) + (1 << 20)) << bits << " bits, n " << n;
    }
}

TEST(MultiIndex, Stops) {
  const CodeBlocks blocks = to_blocks(make_codes(Kind::random, 64, 200'000, 1));
  Interrupt interrupt([] { return true; });
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
  EXPECT_THROW(MultiIndex(blocks, 1, &interrupt), Interrupted);
  const MultiIndex index(blocks, 1, nullptr);
  const PackedCodes queries = make_codes(Kind::random, 64, 50, 2);
  SearchOptions options;
  options.interrupt = &interrupt;
  EXPECT_THROW(index.top_k(blocks, queries.bytes.data(), queries.n, 10, options, true, nullptr), Interrupted);
}

}  // namespace
}  // namespace simskip::testing
