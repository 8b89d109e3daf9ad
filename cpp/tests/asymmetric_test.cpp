#include "simskip/asymmetric.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

// The documented sum: one float per byte of code, added up in byte order.
float weight(const PackedCodes& codes, std::size_t row, const float* outputs) {
  float sum = 0.0f;
  for (std::size_t byte = 0; byte < bytes_per_code(codes.n_bits); ++byte) {
    float entry = 0.0f;
    for (int i = 0; i < 8; ++i) {
      const int bit = static_cast<int>(byte) * 8 + i;
      if (bit >= codes.n_bits) break;
      const bool set = codes.row(row)[byte] >> i & 1;
      if (set != (outputs[bit] > 0)) entry += std::fabs(outputs[bit]);
    }
    sum += entry;
  }
  return sum;
}

void expect_exact(const PackedCodes& codes, const std::vector<float>& outputs, std::size_t k, SearchOptions options) {
  const IsaGuard guard;
  const std::size_t n_queries = outputs.size() / static_cast<std::size_t>(codes.n_bits);
  FloatNeighbors expected{std::vector<float>(n_queries * k, std::numeric_limits<float>::infinity()),
                          std::vector<std::int64_t>(n_queries * k, no_id)};
  for (std::size_t q = 0; q < n_queries; ++q) {
    std::vector<std::pair<float, std::int64_t>> rows;
    for (std::size_t i = 0; i < codes.n; ++i) {
      if (options.allowed && !(options.allowed[i / 64] >> (i % 64) & 1)) continue;
      rows.emplace_back(weight(codes, i, &outputs[q * static_cast<std::size_t>(codes.n_bits)]), i);
    }
    std::sort(rows.begin(), rows.end());
    for (std::size_t i = 0; i < std::min(k, rows.size()); ++i) {
      expected.distances[q * k + i] = rows[i].first;
      expected.ids[q * k + i] = rows[i].second;
    }
  }
  const CodeBlocks blocks = to_blocks(codes);
  for (const auto& isa : available_isas()) {
    force_isa(isa);
    for (const int threads : {1, 2, 3}) {
      options.threads = threads;
      const FloatNeighbors found = asymmetric_top_k(blocks, outputs.data(), n_queries, k, options);
      ASSERT_EQ(found.distances, expected.distances) << isa << ", threads " << threads << ", k " << k;
      ASSERT_EQ(found.ids, expected.ids) << isa << ", threads " << threads << ", k " << k;
    }
  }
}

std::vector<float> normal_outputs(int n_bits, std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> outputs(n * static_cast<std::size_t>(n_bits));
  for (float& o : outputs) o = normal(engine);
  return outputs;
}

class AsymmetricKinds : public ::testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(Asymmetric, AsymmetricKinds, ::testing::ValuesIn(all_kinds));

TEST_P(AsymmetricKinds, EqualsThePlainSum) {
  for (const int bits : {1, 8, 13, 64, 65, 200, 513}) {
    const PackedCodes codes = make_codes(GetParam(), bits, 777, 1);
    for (const std::size_t k : {std::size_t{1}, std::size_t{25}, codes.n, codes.n + 3}) {
      expect_exact(codes, normal_outputs(bits, 4, 2), k, {});
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(AsymmetricKinds, PartsOfTheDatabaseGiveTheSame) {
  // Parts are at least 256 steps of 64 rows.
  expect_exact(make_codes(GetParam(), 16, 60001, 3), normal_outputs(16, 2, 4), 25, {});
}

// Lengths around those at which sums change from bytes to 16 bits, and the longest; enough rows for several thresholds.
TEST_P(AsymmetricKinds, LongCodesEqualThePlainSum) {
  for (const int bits : {127, 129, 191, 256, 1000}) {
    expect_exact(make_codes(GetParam(), bits, 1500, 12), normal_outputs(bits, 3, 13), 10, {});
    if (HasFatalFailure()) return;
  }
  expect_exact(make_codes(GetParam(), max_bits, 400, 14), normal_outputs(max_bits, 2, 15), 5, {});
}

// The integers of the bounds come from weights of any size; a few may outweigh all others or vanish beside them.
TEST_P(AsymmetricKinds, WeightsOfAnySizeEqualThePlainSum) {
  for (const int bits : {24, 64, 200}) {
    const PackedCodes codes = make_codes(GetParam(), bits, 3000, 16);
    for (const float factor : {1e-38f, 1e-44f, 1e30f, 1.0f}) {
      std::vector<float> outputs = normal_outputs(bits, 3, 17);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        outputs[i] *= factor;
        if (i % 11 == 0) outputs[i] *= 1000;
        if (i % 5 == 0) outputs[i] = 0.0f;
      }
      expect_exact(codes, outputs, 20, {});
      if (HasFatalFailure()) return;
    }
  }
}

// Equal weights: most distances equal the threshold, where a bound that is too high by one loses rows.
TEST_P(AsymmetricKinds, EqualWeightsEqualThePlainSum) {
  for (const int bits : {8, 64, 128, 256})
    for (const float weight : {0.1f, 1.0f, 3.0f}) {
      std::vector<float> outputs = normal_outputs(bits, 3, 18);
      for (float& output : outputs) output = output > 0 ? weight : -weight;
      expect_exact(make_codes(GetParam(), bits, 2000, 19), outputs, 100, {});
      if (HasFatalFailure()) return;
    }
}

// From k = 512 on thresholds are guessed from 64 groups of 64 rows.
TEST_P(AsymmetricKinds, GuessedThresholdsLoseNothing) {
  const PackedCodes codes = make_codes(GetParam(), 32, 20000, 24);
  expect_exact(codes, normal_outputs(32, 2, 25), 600, {});
  std::vector<std::uint64_t> sparse(CodeBlocks::padded_rows(codes.n) / 64, 0x0001000000010000);
  SearchOptions options;
  options.allowed = sparse.data();
  expect_exact(codes, normal_outputs(32, 2, 26), 600, options);
  expect_exact(codes, normal_outputs(32, 2, 26), 700, options);  // more than there are
}

TEST(Asymmetric, WrongGuessesAreMended) {
  // The groups of the sample hold the nearest rows and hardly any others do, so the guess is far too low.
  PackedCodes codes(32, 20032);
  const std::size_t groups = codes.n / 64;
  std::vector<bool> sampled(groups);
  for (std::size_t i = 0; i < 64; ++i) sampled[groups * i / 64] = true;
  std::mt19937 engine(27);
  for (std::size_t row = 0; row < codes.n; ++row)
    for (int bit = 0; bit < 32; ++bit)
      if (engine() % 16 < (sampled[row / 64] ? 1u : 9u)) codes.flip(row, bit);
  std::vector<float> outputs = normal_outputs(32, 3, 28);
  for (float& output : outputs) output = -std::fabs(output);
  expect_exact(codes, outputs, 5000, {});
}

TEST(Asymmetric, ManyQueriesShareTheirPasses) {
  const PackedCodes codes = make_codes(Kind::random, 64, 2111, 20);
  expect_exact(codes, normal_outputs(64, 150, 21), 7, {});
}

TEST(Asymmetric, AllowedRowsOnly) {
  const PackedCodes codes = make_codes(Kind::clustered, 40, 500, 5);
  for (const std::uint64_t mask : {std::uint64_t{0}, std::uint64_t{0x8000000000000001}, ~std::uint64_t{0}}) {
    std::vector<std::uint64_t> allowed(CodeBlocks::padded_rows(codes.n) / 64, mask);
    SearchOptions options;
    options.allowed = allowed.data();
    expect_exact(codes, normal_outputs(40, 2, 6), 30, options);
  }
  const PackedCodes many = make_codes(Kind::random, 40, 4000, 22);
  std::vector<std::uint64_t> sparse(CodeBlocks::padded_rows(many.n) / 64, 0x8001040200001001);
  SearchOptions options;
  options.allowed = sparse.data();
  expect_exact(many, normal_outputs(40, 2, 23), 10, options);
}

TEST(Asymmetric, UnitOutputsRankAsHammingDoes) {
  const PackedCodes codes = make_codes(Kind::random, 64, 3000, 7), queries = make_codes(Kind::random, 64, 5, 8);
  std::vector<float> outputs;
  for (std::size_t q = 0; q < queries.n; ++q)
    for (int bit = 0; bit < 64; ++bit) outputs.push_back(queries.row(q)[bit / 8] >> (bit % 8) & 1 ? 1.0f : -1.0f);
  const FloatNeighbors found = asymmetric_top_k(to_blocks(codes), outputs.data(), queries.n, 50, {});
  const Neighbors expected = oracle_top_k(codes, queries, 50, {});
  EXPECT_EQ(found.ids, expected.ids);
  EXPECT_EQ(std::vector<std::int32_t>(found.distances.begin(), found.distances.end()), expected.distances);
}

TEST(Asymmetric, ZeroOutputsWeighNothingAndTiesGoByRow) {
  const PackedCodes codes = make_codes(Kind::random, 24, 300, 9);
  expect_exact(codes, std::vector<float>(24, 0.0f), 25, {});
  expect_exact(codes, std::vector<float>(24, -0.0f), 25, {});
}

TEST(Asymmetric, EmptyStoreGivesPadding) {
  const float output = 1;
  const FloatNeighbors found = asymmetric_top_k(CodeBlocks(1), &output, 1, 2, {});
  EXPECT_EQ(found.ids, std::vector<std::int64_t>(2, no_id));
}

TEST(Asymmetric, AnswersAnInterrupt) {
  const CodeBlocks blocks = to_blocks(make_codes(Kind::all_equal, 64, 200000, 10));
  const std::vector<float> outputs = normal_outputs(64, 3, 11);
  for (const int threads : {1, 2}) {
    Interrupt interrupt([] { return true; });
    SearchOptions options;
    options.threads = threads;
    options.interrupt = &interrupt;
    EXPECT_THROW(for (int i = 0; i < 100000; ++i) asymmetric_top_k(blocks, outputs.data(), 3, 25, options),
                 Interrupted);
  }
}

}  // namespace
}  // namespace simskip::testing
