#include "simskip/multi_index.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "multi_index_plan.hpp"
#include "multi_index_probe.hpp"
#include "multi_index_spread.hpp"
#include "oracle.hpp"

namespace simskip::testing {
namespace {

void expect_equal(const Neighbors& found, const Neighbors& expected, const std::string& what) {
  ASSERT_EQ(found.distances, expected.distances) << what;
  ASSERT_EQ(found.ids, expected.ids) << what;
}

// All kernels, with and without leave to scan.
void expect_exact(const MultiIndex& index, const CodeBlocks& blocks, const PackedCodes& codes,
                  const PackedCodes& queries, std::size_t k, SearchOptions options,
                  const std::vector<int>& thread_counts = {1}) {
  const IsaGuard guard;
  const Neighbors expected = oracle_top_k(codes, queries, k, options);
  for (const auto& isa : available_isas()) {
    force_isa(isa);
    for (const int threads : thread_counts)
      for (const bool force : {true, false}) {
        options.threads = threads;
        expect_equal(index.top_k(blocks, queries.bytes.data(), queries.n, k, options, nullptr, force), expected,
                     isa + ", " + std::to_string(codes.n_bits) + " bits, " + std::to_string(codes.n) + " rows, k " +
                         std::to_string(k) + ", threads " + std::to_string(threads) + ", force " +
                         std::to_string(force));
        if (::testing::Test::HasFatalFailure()) return;
      }
  }
}

void expect_exact(const PackedCodes& codes, const PackedCodes& queries, std::size_t k, const SearchOptions& options) {
  const CodeBlocks blocks = to_blocks(codes);
  expect_exact(MultiIndex(blocks, 1, nullptr), blocks, codes, queries, k, options);
}

std::vector<int> bit_counts() {
  std::vector<int> bits(512);
  std::iota(bits.begin(), bits.end(), 1);
  for (int b : {513, 1024, 1985, 4095, 4096}) bits.push_back(b);
  return bits;
}

TEST(MultiIndex, EveryBitCount) {
  for (const int bits : bit_counts()) {
    const auto seed = static_cast<unsigned>(bits);
    expect_exact(make_codes(Kind::clustered, bits, 150, seed), make_codes(Kind::clustered, bits, 3, seed), 7, {});
    expect_exact(make_codes(Kind::random, bits, 90, seed), make_codes(Kind::random, bits, 2, 1000), 25, {});
    if (HasFatalFailure()) return;
  }
}

class MultiIndexKinds : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(MultiIndex, MultiIndexKinds, ::testing::ValuesIn(all_kinds));

TEST_P(MultiIndexKinds, EveryKAndTeam) {
  for (const int bits : {12, 48, 64, 128, 300}) {
    const std::size_t n = 1500;
    const PackedCodes codes = make_codes(GetParam(), bits, n, 11), queries = make_codes(GetParam(), bits, 20, 12);
    const CodeBlocks blocks = to_blocks(codes);
    const MultiIndex index(blocks, 2, nullptr);
    for (const std::size_t k : {std::size_t{1}, std::size_t{25}, std::size_t{400}, n, n + 5}) {
      PackedCodes some(bits, k > 25 ? 2 : 20);
      std::copy_n(queries.bytes.begin(), some.bytes.size(), some.bytes.begin());
      expect_exact(index, blocks, codes, some, k, {}, k == 25 ? std::vector{1, 2, 4} : std::vector{1});
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(MultiIndexKinds, AllowedRowsAndFarthestDistance) {
  const std::size_t n = 700;
  for (const int bits : {9, 64, 130}) {
    const PackedCodes codes = make_codes(GetParam(), bits, n, 15), queries = make_codes(GetParam(), bits, 5, 16);
    const CodeBlocks blocks = to_blocks(codes);
    const MultiIndex index(blocks, 1, nullptr);
    for (const unsigned every : {1u, 7u, 500u, 5000u}) {
      std::vector<std::uint64_t> allowed(CodeBlocks::padded_rows(n) / 64);
      for (std::size_t row = 0; row < n; ++row)
        if (row % every == every / 2) allowed[row / 64] |= std::uint64_t{1} << (row % 64);
      for (const int farthest : {-1, 0, 1, bits / 3, bits, SearchOptions::max_distance_any}) {
        SearchOptions options;
        options.allowed = allowed.data();
        options.max_distance = farthest;
        expect_exact(index, blocks, codes, queries, 25, options);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Every code has the query's value of the first substring, and is far in the others.
TEST(MultiIndex, OneSubstringSharedByAll) {
  const int bits = 64;
  PackedCodes codes = make_codes(Kind::random, bits, 3000, 1);
  for (std::size_t i = 0; i < codes.n; ++i) codes.row(i)[0] = codes.row(i)[1] = 0;
  PackedCodes queries = make_codes(Kind::random, bits, 4, 2);
  for (std::size_t i = 0; i < queries.n; ++i) queries.row(i)[0] = queries.row(i)[1] = 0;
  for (const std::size_t k : {1, 25, 2999}) expect_exact(codes, queries, k, {});
}

// More rows at the k-th distance than buffers hold, those with small numbers in the buckets looked at last.
TEST(MultiIndex, TiesAreDecidedByTheRow) {
  const int bits = 64;
  const std::size_t n = 6400;
  PackedCodes codes(bits, n);
  for (std::size_t i = 0; i < n; ++i) codes.flip(i, 63 - static_cast<int>(i * 64 / n));
  const PackedCodes zero(bits, 1);
  for (const std::size_t k : {std::size_t{1}, std::size_t{25}, std::size_t{150}, std::size_t{3000}, n - 1})
    expect_exact(codes, zero, k, {});
}

TEST(MultiIndex, FewRows) {
  for (const int bits : {1, 8, 64, 65, 4096})
    for (const std::size_t n : {1, 2, 3, 5, 65}) {
      expect_exact(make_codes(Kind::random, bits, n, 3), make_codes(Kind::random, bits, 2, 4), 3, {});
      if (HasFatalFailure()) return;
    }
}

TEST(MultiIndex, NoRowsOrNoQueries) {
  const CodeBlocks empty(64);
  const MultiIndex index(empty, 1, nullptr);
  const std::uint64_t query = 5;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&query);
  const Neighbors found = index.top_k(empty, bytes, 1, 3, {}, nullptr, true);
  EXPECT_EQ(found.ids, std::vector<std::int64_t>(3, no_id));
  EXPECT_EQ(found.distances, std::vector<std::int32_t>(3, no_distance));
  EXPECT_EQ(index.range(empty, bytes, 1, {}, nullptr, true).limits, (std::vector<std::int64_t>{0, 0}));
  const CodeBlocks some = to_blocks(make_codes(Kind::random, 64, 10, 1));
  const MultiIndex of_some(some, 1, nullptr);
  EXPECT_TRUE(of_some.top_k(some, nullptr, 0, 3, {}, nullptr, true).ids.empty());
  EXPECT_EQ(of_some.range(some, nullptr, 0, {}, nullptr, true).limits, std::vector<std::int64_t>{0});
}

TEST_P(MultiIndexKinds, RangeIsEveryRowWithinTheRadius) {
  const IsaGuard guard;
  for (const int bits : {5, 64, 129}) {
    const PackedCodes codes = make_codes(GetParam(), bits, 700, 17), queries = make_codes(GetParam(), bits, 6, 18);
    const CodeBlocks blocks = to_blocks(codes);
    const MultiIndex index(blocks, 1, nullptr);
    const std::vector<std::uint64_t> odd(CodeBlocks::padded_rows(codes.n) / 64, 0xAAAAAAAAAAAAAAAA);
    for (const std::uint64_t* allowed : {static_cast<const std::uint64_t*>(nullptr), odd.data()})
      for (const int radius : {-1, 0, 3, bits / 4, bits / 2, bits}) {
        SearchOptions options;
        options.max_distance = radius;
        options.allowed = allowed;
        const Range expected = range(blocks, queries.bytes.data(), queries.n, options);
        for (const auto& isa : available_isas()) {
          force_isa(isa);
          for (const bool force : {true, false})
            for (const int threads : {1, 3}) {
              options.threads = threads;
              const Range found = index.range(blocks, queries.bytes.data(), queries.n, options, nullptr, force);
              ASSERT_EQ(found.limits, expected.limits) << isa << ", radius " << radius;
              ASSERT_EQ(found.distances, expected.distances) << isa;
              ASSERT_EQ(found.ids, expected.ids) << isa;
            }
        }
      }
  }
}

TEST(MultiIndex, AnyTeamBuildsTheSame) {
  const PackedCodes codes = make_codes(Kind::clustered, 64, 200000, 5), queries = make_codes(Kind::clustered, 64, 9, 6);
  const CodeBlocks blocks = to_blocks(codes);
  const Neighbors expected = top_k(blocks, queries.bytes.data(), queries.n, 25, {});
  for (const int threads : {1, 2, 4}) {
    const MultiIndex index(blocks, threads, nullptr);
    expect_equal(index.top_k(blocks, queries.bytes.data(), queries.n, 25, {}, nullptr, true), expected, "forced");
  }
}

TEST(MultiIndex, CountsWhatItDid) {
  const PackedCodes codes = make_codes(Kind::random, 64, 50000, 5), queries = make_codes(Kind::random, 64, 10, 6);
  const CodeBlocks blocks = to_blocks(codes);
  const MultiIndex index(blocks, 1, nullptr);
  EXPECT_EQ(index.size(), codes.n);
  const std::size_t m = index.n_substrings();
  EXPECT_GE(m, 3u);
  SearchStats near;  // rows of the index itself: one bucket of each table is enough
  index.top_k(blocks, codes.bytes.data(), 10, 1, {}, &near, true);
  EXPECT_EQ(near.by_index, 10u);
  EXPECT_EQ(near.by_scan, 0u);
  EXPECT_EQ(near.buckets, 10 * m);
  EXPECT_GE(near.codes, 10 * m);
  EXPECT_LT(near.codes, 10 * m * 1000);
  SearchStats far;  // all rows are wanted: a scan is cheaper
  index.top_k(blocks, queries.bytes.data(), queries.n, codes.n, {}, &far, false);
  EXPECT_EQ(far.by_scan, 10u);
  EXPECT_EQ(far.by_index, 0u);
  EXPECT_GE(far.codes, 10 * codes.n);
}

// Every row in one bucket: that shows before the bucket is read.
TEST(MultiIndex, SkewIsLeftToTheScan) {
  const PackedCodes codes = make_codes(Kind::all_equal, 64, 100000, 5);
  const CodeBlocks blocks = to_blocks(codes);
  const MultiIndex index(blocks, 1, nullptr);
  SearchStats stats;
  const Neighbors found = index.top_k(blocks, codes.bytes.data(), 20, 25, {}, &stats, false);
  EXPECT_EQ(stats.by_scan, 20u);
  EXPECT_EQ(found.ids, top_k(blocks, codes.bytes.data(), 20, 25, {}).ids);
}

// More codes in a bucket than are read in one go.
TEST(MultiIndex, HugeBuckets) {
  const std::size_t n = 1200000;
  const PackedCodes code = make_codes(Kind::random, 32, 1, 5);
  PackedCodes codes(32, n);
  for (std::size_t i = 0; i < n; ++i) std::copy_n(code.row(0), 4, codes.row(i));
  codes.flip(n - 1, 3);
  const CodeBlocks blocks = to_blocks(codes);
  const MultiIndex index(blocks, 2, nullptr);
  const Neighbors found = index.top_k(blocks, codes.row(n - 1), 1, 3, {}, nullptr, true);
  EXPECT_EQ(found.distances, (std::vector<std::int32_t>{0, 1, 1}));
  EXPECT_EQ(found.ids, (std::vector<std::int64_t>{static_cast<std::int64_t>(n) - 1, 0, 1}));
  Interrupt interrupt([] { return true; });
  SearchOptions options;
  options.interrupt = &interrupt;
  options.threads = 1;
  EXPECT_THROW(for (int i = 0; i < 1000; ++i) index.top_k(blocks, codes.row(0), 1, 3, options, nullptr, true),
               Interrupted);
}

TEST(MultiIndex, MemoryIsBounded) {
  for (const int bits : {32, 64, 128, 1024}) {
    const std::size_t n = 20000;
    const CodeBlocks blocks = to_blocks(make_codes(Kind::random, bits, n, 1));
    const MultiIndex index(blocks, 2, nullptr);
    const std::size_t per_code = bits <= 64 ? 12 : 4;
    EXPECT_LE(index.nbytes(), index.n_substrings() * n * (per_code + 8) + (std::size_t{3} << 19)) << bits;
  }
}

TEST(MultiIndex, AnswersAnInterrupt) {
  const PackedCodes codes = make_codes(Kind::random, 64, 100000, 19), queries = make_codes(Kind::random, 64, 200, 20);
  const CodeBlocks blocks = to_blocks(codes);
  const MultiIndex index(blocks, 1, nullptr);
  for (const int threads : {1, 3}) {
    Interrupt interrupt([] { return true; });
    SearchOptions options;
    options.threads = threads;
    options.interrupt = &interrupt;
    // The poll comes every 20 ms at most; searches are repeated until one runs into it.
    EXPECT_THROW(for (int i = 0; i < 100000; ++i)
                     index.top_k(blocks, queries.bytes.data(), queries.n, 25, options, nullptr, true),
                 Interrupted);
    EXPECT_THROW(index.range(blocks, queries.bytes.data(), queries.n, options, nullptr, true), Interrupted);
    EXPECT_THROW(MultiIndex(blocks, threads, &interrupt), Interrupted) << "stays requested";
  }
}

TEST(Substring, KeysAreTheMaskedBitsInOrder) {
  std::mt19937_64 engine(1);
  for (int trial = 0; trial < 200; ++trial) {
    const std::uint64_t mask = trial == 0 ? 0 : trial == 1 ? 0xFFFF0000 : engine() & engine() & engine();
    const Substring substring(3, mask);
    const std::uint64_t word = engine();
    std::uint32_t expected = 0;
    int place = 0;
    for (int bit = 0; bit < 64; ++bit)
      if (mask >> bit & 1) expected |= static_cast<std::uint32_t>(word >> bit & 1) << place++;
    ASSERT_EQ(substring.key(word), expected) << std::hex << mask;
    ASSERT_EQ(substring.bits(), place);
  }
}

TEST(Substring, CutsAreDisjointAndSmall) {
  for (const std::size_t n : {0, 1, 100, 1000000, 10000000})
    for (const int bits : bit_counts()) {
      std::vector<std::uint64_t> seen(words_per_code(bits), 0);
      for (const Substring& s : cut_into_substrings(bits, n, 4)) {
        ASSERT_EQ(seen[s.word()] & s.group().mask, 0u);
        ASSERT_LE(s.buckets(), 2 * std::max<std::size_t>(n, 16)) << bits;
        seen[s.word()] |= s.group().mask;
      }
      int held = 0;
      for (const std::uint64_t w : seen) held += std::popcount(w);
      ASSERT_LE(held, bits);
      ASSERT_GE(held, n < 1000000 ? 1 : bits);
    }
}

// Bits 0 to 7 always agree, bits 8 to 15 never change: no substring gets more of them than it must.
TEST(Spread, DependentBitsGoToDifferentSubstrings) {
  const std::size_t n = 5000;
  PackedCodes codes = make_codes(Kind::random, 64, n, 1);
  for (std::size_t i = 0; i < n; ++i) {
    codes.row(i)[0] = i % 3 ? 0 : 0xFF;
    codes.row(i)[1] = 0x5A;
  }
  const auto cut = cut_into_substrings(64, n, 6);
  const auto found = spread(cut, to_blocks(codes));
  std::uint64_t all = 0;
  for (std::size_t s = 0; s < cut.size(); ++s) {
    EXPECT_EQ(found[s].bits(), cut[s].bits());
    EXPECT_EQ(all & found[s].group().mask, 0u);
    all |= found[s].group().mask;
    EXPECT_LE(std::popcount(found[s].group().mask & 0xFF), 2);
    EXPECT_LE(std::popcount(found[s].group().mask & 0xFF00), 2);
  }
  EXPECT_EQ(std::popcount(all), 64);
  expect_exact(codes, make_codes(Kind::random, 64, 3, 9), 25, {});
  const auto same = spread(cut, to_blocks(make_codes(Kind::random, 64, n, 2)));
  for (std::size_t s = 0; s < cut.size(); ++s) EXPECT_EQ(same[s].group().mask, cut[s].group().mask);
}

// Large and clustered: few and long substrings, and worth it. Few codes, or all far apart: not.
TEST(Plan, FollowsTheData) {
  const std::vector<int> near(10, 5), far(10, 16);
  EXPECT_EQ(best_plan(10000000, 64, near).substrings.size(), 3u);
  EXPECT_EQ(best_plan(1000000, 64, {8, 9, 9, 10}).substrings.size(), 4u);
  EXPECT_LT(best_plan(10000000, 64, near).query_cost, best_plan(10000000, 64, far).query_cost);
  EXPECT_LE(best_plan(1000, 64, far).query_cost, 2 * (scan_cost(1000, 1, 1000) + 4500));
  const CodeBlocks clustered = to_blocks(make_codes(Kind::clustered, 64, 300000, 1));
  EXPECT_TRUE(MultiIndex::worth_building(clustered, 25, 1, nullptr));
  EXPECT_FALSE(MultiIndex::worth_building(clustered, 300000, 1, nullptr));
  EXPECT_FALSE(MultiIndex::worth_building(to_blocks(make_codes(Kind::random, 64, 300000, 1)), 25, 1, nullptr));
  EXPECT_FALSE(MultiIndex::worth_building(to_blocks(make_codes(Kind::clustered, 64, 1000, 1)), 25, 1, nullptr));
  EXPECT_FALSE(MultiIndex::worth_building(CodeBlocks(64), 25, 1, nullptr));
}

TEST(Plan, UniformDistance) {
  EXPECT_GT(uniform_distance(1, 64, 1), 50);
  EXPECT_EQ(uniform_distance(1000, 8, 1), 0);
  EXPECT_EQ(uniform_distance(10000000, 64, 25), 14);
  EXPECT_EQ(uniform_distance(10, 64, 20), 64);
  EXPECT_GT(uniform_distance(1000000, 4096, 25), 1500);
}

TEST(Schedule, CheapestUnitsFirst) {
  const auto substrings = cut_into_substrings(64, 10000000, 3);
  const Schedule schedule(substrings, 10000000, 1);
  std::vector<int> next(substrings.size(), 0);
  for (std::size_t t = 0; t < schedule.size(); ++t) {
    EXPECT_EQ(schedule[t].weight, next[schedule[t].table]++);
    EXPECT_DOUBLE_EQ(schedule.cost_before(t + 1), schedule.cost_before(t) + schedule[t].cost);
    if (t > 0 && t < 20) {
      EXPECT_GE(schedule[t].cost, schedule[t - 1].cost);
    }
  }
}

TEST(Patterns, AscendWithinAWeight) {
  const Patterns patterns(10);
  std::size_t total = 0;
  for (int weight = 0; weight <= 10; ++weight) {
    const std::uint32_t* list = patterns.of_weight(weight);
    std::size_t expected = 1;
    for (int i = 1; i <= weight; ++i) expected = expected * static_cast<std::size_t>(10 - weight + i) / i;
    for (std::size_t i = 0; i < expected; ++i) {
      EXPECT_EQ(std::popcount(list[i]), weight);
      if (i > 0) {
        EXPECT_GT(list[i], list[i - 1]);
      }
    }
    total += expected;
  }
  EXPECT_EQ(patterns.nbytes(), total * sizeof(std::uint32_t));
  EXPECT_EQ(Patterns(30).of_weight(15), nullptr);
}

}  // namespace
}  // namespace simskip::testing
