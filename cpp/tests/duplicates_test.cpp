#include "simskip/duplicates.hpp"

#include <chrono>
#include <numeric>
#include <thread>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

// Spreads the lowest row over all pairs until nothing changes.
std::vector<std::uint32_t> oracle_groups(const PackedCodes& codes, const SearchOptions& options) {
  std::vector<std::uint32_t> lowest(codes.n);
  std::iota(lowest.begin(), lowest.end(), 0u);
  const auto takes_part = [&](std::size_t i) { return !options.allowed || (options.allowed[i / 64] >> (i % 64) & 1); };
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < codes.n; ++i)
      for (std::size_t j = 0; j < codes.n; ++j)
        if (takes_part(i) && takes_part(j) && lowest[j] < lowest[i] &&
            distance(codes.row(i), codes.row(j), codes.n_bits) <= options.max_distance) {
          lowest[i] = lowest[j];
          changed = true;
        }
  }
  return lowest;
}

class DuplicateKinds : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Duplicates, DuplicateKinds, ::testing::ValuesIn(all_kinds));

TEST_P(DuplicateKinds, EqualsAllPairs) {
  const IsaGuard guard;
  for (const int bits : {1, 7, 13, 64, 65, 200, 300}) {
    const PackedCodes codes = make_codes(GetParam(), bits, 330, static_cast<unsigned>(bits));
    const CodeBlocks blocks = to_blocks(codes);
    std::vector<std::uint64_t> allowed(CodeBlocks::padded_rows(codes.n) / 64, 0x7DFEFBF7EFDFBF7F);
    for (const int radius : {0, 1, 2, bits / 3, bits, SearchOptions::max_distance_any})
      for (const std::uint64_t* mask : {static_cast<const std::uint64_t*>(nullptr), std::as_const(allowed).data()}) {
        SearchOptions options;
        options.max_distance = radius;
        options.allowed = mask;
        const auto expected = oracle_groups(codes, options);
        for (const auto& isa : available_isas()) {
          force_isa(isa);
          for (const int threads : {1, 3}) {
            options.threads = threads;
            ASSERT_EQ(duplicate_groups(blocks, options), expected)
                << isa << ", " << bits << " bits, radius " << radius << ", threads " << threads;
          }
        }
      }
  }
}

TEST(Duplicates, ManyEqualCodesAreNotComparedPairByPair) {
  // 2 * 10^10 pairs would take minutes; the sort takes a moment.
  PackedCodes codes(64, 200'000);
  for (std::size_t i = 0; i < codes.n; ++i) codes.flip(i, i % 3 == 0 ? 5 : 40);
  SearchOptions options;
  options.max_distance = 1;
  const auto lowest = duplicate_groups(to_blocks(codes), options);
  for (std::size_t i = 0; i < codes.n; ++i) ASSERT_EQ(lowest[i], i % 3 == 0 ? 0u : 1u);
}

TEST(Duplicates, NoRows) { EXPECT_TRUE(duplicate_groups(CodeBlocks(8), {}).empty()); }

TEST(Duplicates, Stops) {
  const PackedCodes codes = make_codes(Kind::random, 64, 2000, 1);
  Interrupt interrupt([] { return true; });
  SearchOptions options;
  options.max_distance = 3;
  options.interrupt = &interrupt;
  std::this_thread::sleep_for(std::chrono::milliseconds(25));
  EXPECT_THROW(duplicate_groups(to_blocks(codes), options), Interrupted);
}

}  // namespace
}  // namespace simskip::testing
