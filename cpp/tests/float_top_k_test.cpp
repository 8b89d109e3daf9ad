#include "simskip/float_top_k.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

struct Matrix {
  std::size_t n, dim;
  std::vector<float> values;

  Matrix(std::size_t rows, std::size_t columns) : n(rows), dim(columns), values(rows * columns) {}
  float* row(std::size_t i) { return &values[i * dim]; }
  const float* row(std::size_t i) const { return &values[i * dim]; }
};

Matrix normal(std::size_t n, std::size_t dim, unsigned seed, float scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> draw;
  Matrix m(n, dim);
  for (float& v : m.values) v = scale * draw(engine);
  return m;
}

double oracle_dot(const float* a, const float* b, std::size_t dim) {
  long double sum = 0;
  for (std::size_t i = 0; i < dim; ++i) sum += static_cast<long double>(a[i]) * b[i];
  return static_cast<double>(sum);
}

double oracle_value(const float* q, const float* x, std::size_t dim, Metric metric) {
  if (metric == Metric::dot) return oracle_dot(q, x, dim);
  if (metric == Metric::l2) {
    long double sum = 0;
    for (std::size_t i = 0; i < dim; ++i)
      sum += (static_cast<long double>(q[i]) - x[i]) * (static_cast<long double>(q[i]) - x[i]);
    return static_cast<double>(std::sqrt(sum));
  }
  const double norms = std::sqrt(oracle_dot(q, q, dim)) * std::sqrt(oracle_dot(x, x, dim));
  return norms > 0 ? std::max(0.0, 1 - oracle_dot(q, x, dim) / norms) : 1;
}

struct Plan {
  std::size_t block = 1000;
  int threads = 1;
  bool backwards = false;   // how the stand-in for BLAS adds up
  bool named_rows = false;  // row numbers instead of the first one
};

FloatNeighbors search(const Matrix& rows, const Matrix& queries, std::size_t k, Metric metric, const Plan& plan,
                      const std::vector<std::int64_t>* ids = nullptr) {
  std::vector<double> norms(rows.n);
  row_norms(rows.values.data(), rows.n, rows.dim, norms.data(), plan.threads);
  const double longest = rows.n ? *std::max_element(norms.begin(), norms.end()) : 0;
  FloatTopK top(queries.values.data(), queries.n, queries.dim, k, metric, longest, plan.threads);
  for (std::size_t start = 0; start < rows.n; start += plan.block) {
    const std::size_t n = std::min(plan.block, rows.n - start);
    std::vector<float> products(queries.n * n);
    std::vector<std::int64_t> numbers(n);
    std::iota(numbers.begin(), numbers.end(), static_cast<std::int64_t>(start));
    for (std::size_t q = 0; q < queries.n; ++q)
      for (std::size_t i = 0; i < n; ++i) {
        float sum = 0;
        for (std::size_t d = 0; d < rows.dim; ++d) {
          const std::size_t c = plan.backwards ? rows.dim - 1 - d : d;
          sum += queries.row(q)[c] * rows.row(start + i)[c];
        }
        products[q * n + i] = sum;
      }
    top.add(products.data(), n, plan.named_rows ? numbers.data() : nullptr, static_cast<std::int64_t>(start),
            norms.data() + start);
  }
  return top.finish({rows.values.data(), rows.n, rows.dim, ids ? ids->data() : nullptr, norms.data()}, nullptr);
}

// Distances are the oracle's to one rounding, ascending with ids breaking ties, and nothing nearer was left out.
void expect_exact(const FloatNeighbors& found, const Matrix& rows, const Matrix& queries, std::size_t k,
                  Metric metric) {
  const double sign = metric == Metric::dot ? -1 : 1;
  for (std::size_t q = 0; q < queries.n; ++q) {
    std::vector<std::pair<double, std::int64_t>> all;
    for (std::size_t i = 0; i < rows.n; ++i) {
      const double value = sign * oracle_value(queries.row(q), rows.row(i), rows.dim, metric);
      all.emplace_back(static_cast<double>(static_cast<float>(value)) + 0.0, i);
    }
    std::sort(all.begin(), all.end());
    for (std::size_t i = 0; i < k; ++i) {
      const float distance = found.distances[q * k + i];
      const std::int64_t id = found.ids[q * k + i];
      if (i >= rows.n) {
        ASSERT_EQ(id, -1);
        ASSERT_EQ(distance, sign * std::numeric_limits<double>::infinity());
        continue;
      }
      // A double sum may round to the neighbouring float, no further.
      const double expected = sign * all[i].first;
      ASSERT_NEAR(distance, expected, 1.3e-7 * std::fabs(expected) + 1e-12) << "query " << q << " place " << i;
      ASSERT_GE(id, 0);
      const double own = oracle_value(queries.row(q), rows.row(static_cast<std::size_t>(id)), rows.dim, metric);
      ASSERT_NEAR(own, distance, 1.3e-7 * std::fabs(own) + 1e-12);
      if (i > 0) {
        const double before = sign * found.distances[q * k + i - 1];
        ASSERT_TRUE(before < sign * distance || (before == sign * distance && found.ids[q * k + i - 1] < id))
            << "order at query " << q << " place " << i;
      }
    }
  }
}

class Metrics : public ::testing::TestWithParam<Metric> {};
INSTANTIATE_TEST_SUITE_P(FloatTopK, Metrics, ::testing::Values(Metric::cosine, Metric::l2, Metric::dot));

TEST_P(Metrics, EqualsTheOracleWhateverTheWay) {
  const IsaGuard guard;
  for (const std::size_t dim : {1, 3, 16, 17, 100}) {
    Matrix rows = normal(700, dim, 1), queries = normal(20, dim, 2);
    for (std::size_t i = 100; i < 160; ++i) std::copy_n(rows.row(i % 10), dim, rows.row(i));  // duplicates
    for (const std::size_t i : {50, 51, 699}) std::fill_n(rows.row(i), dim, 0.0f);
    std::fill_n(queries.row(3), dim, 0.0f);
    std::copy_n(rows.row(5), dim, queries.row(4));
    for (const std::size_t k : {1, 10, 700, 705}) {
      const FloatNeighbors first = search(rows, queries, k, GetParam(), {});
      expect_exact(first, rows, queries, k, GetParam());
      if (HasFatalFailure()) return;
      for (const auto& isa : available_isas()) {
        force_isa(isa);
        for (const Plan& plan : {Plan{1, 1, true, false}, Plan{64, 3, true, true}, Plan{699, 2, false, true}}) {
          if (plan.block == 1 && dim > 16) continue;
          const FloatNeighbors found = search(rows, queries, k, GetParam(), plan);
          ASSERT_EQ(found.ids, first.ids) << isa << ", dim " << dim << ", k " << k << ", block " << plan.block;
          ASSERT_EQ(found.distances, first.distances) << isa << ", dim " << dim << ", k " << k;
        }
      }
    }
  }
}

TEST_P(Metrics, TiesGoById) {
  Matrix rows(300, 5);
  const Matrix one = normal(1, 5, 3);
  for (std::size_t i = 0; i < rows.n; ++i) std::copy_n(one.row(0), 5, rows.row(i));
  std::vector<std::int64_t> ids(rows.n);
  for (std::size_t i = 0; i < rows.n; ++i) ids[i] = static_cast<std::int64_t>(i * 3);
  for (const std::size_t block : {7, 300}) {
    const FloatNeighbors found = search(rows, normal(2, 5, 4), 25, GetParam(), {block, 2, false, false}, &ids);
    for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(found.ids[i], static_cast<std::int64_t>(i % 25 * 3));
  }
}

TEST_P(Metrics, LengthsNearTheBounds) {
  for (const float scale : {2e-15f, 1e-7f, 1e7f, 2e14f}) {
    for (const float query_scale : {2e-15f, 1.0f, 2e14f}) {
      const Matrix rows = normal(200, 4, 5, scale), queries = normal(5, 4, 6, query_scale);
      const FloatNeighbors found = search(rows, queries, 10, GetParam(), {64, 1, false, false});
      const FloatNeighbors other = search(rows, queries, 10, GetParam(), {7, 2, true, false});
      EXPECT_EQ(found.ids, other.ids) << scale << " " << query_scale;
      for (std::size_t i = 0; i < found.ids.size(); ++i) ASSERT_TRUE(std::isfinite(found.distances[i]));
      const double sign = GetParam() == Metric::dot ? -1 : 1;
      for (std::size_t q = 0; q < queries.n; ++q) {
        std::vector<std::pair<float, std::int64_t>> all;
        for (std::size_t i = 0; i < rows.n; ++i)
          all.emplace_back(static_cast<float>(sign * oracle_value(queries.row(q), rows.row(i), 4, GetParam())), i);
        std::sort(all.begin(), all.end());
        // The worst kept distance equals the oracle's: nothing nearer is missing.
        const double worst = sign * found.distances[q * 10 + 9];
        ASSERT_NEAR(worst, all[9].first, 1.3e-7 * std::fabs(worst)) << scale << " " << query_scale;
      }
    }
  }
}

// Far from the origin many distances round to the same float; all of them must be looked at, so that ids decide.
TEST(FloatTopK, FarQueriesKeepTheOrderOfIds) {
  const Matrix rows = normal(2000, 3, 7);
  for (const float scale : {1e3f, 1e5f, 1e7f}) {
    const Matrix queries = normal(4, 3, 8, scale);
    const FloatNeighbors found = search(rows, queries, 10, Metric::l2, {2000, 1, false, false});
    expect_exact(found, rows, queries, 10, Metric::l2);
    for (std::size_t q = 0; q < queries.n; ++q) {
      std::vector<std::pair<float, std::int64_t>> all;
      for (std::size_t i = 0; i < rows.n; ++i)
        all.emplace_back(static_cast<float>(oracle_value(queries.row(q), rows.row(i), 3, Metric::l2)), i);
      std::sort(all.begin(), all.end());
      for (std::size_t i = 0; i < 10; ++i) ASSERT_EQ(found.ids[q * 10 + i], all[i].second) << scale;
    }
  }
}

TEST(FloatTopK, NearlyEqualRowsAreToldApart) {
  // Rows that differ in the last bit: float32 products cannot order them.
  Matrix rows(500, 64), queries = normal(3, 64, 9);
  const Matrix base = normal(1, 64, 10);
  for (std::size_t i = 0; i < rows.n; ++i) {
    std::copy_n(base.row(0), 64, rows.row(i));
    rows.row(i)[i % 64] = std::nextafter(rows.row(i)[i % 64], i < 250 ? 100.0f : -100.0f);
  }
  for (const Metric metric : {Metric::cosine, Metric::l2, Metric::dot}) {
    const FloatNeighbors found = search(rows, queries, 25, metric, {100, 1, false, false});
    const FloatNeighbors other = search(rows, queries, 25, metric, {33, 2, true, true});
    EXPECT_EQ(found.ids, other.ids);
    EXPECT_EQ(found.distances, other.distances);
    expect_exact(found, rows, queries, 25, metric);
  }
}

TEST(FloatTopK, NormsAreTheSameForAnyThreadsAndKernel) {
  const IsaGuard guard;
  const Matrix rows = normal(1000, 97, 11);
  std::vector<double> first(rows.n), norms(rows.n);
  row_norms(rows.values.data(), rows.n, rows.dim, first.data(), 1);
  for (std::size_t i = 0; i < rows.n; ++i)
    ASSERT_NEAR(first[i], std::sqrt(oracle_dot(rows.row(i), rows.row(i), rows.dim)), 1e-12 * first[i]);
  for (const auto& isa : available_isas()) {
    force_isa(isa);
    for (const int threads : {1, 2, 3}) {
      row_norms(rows.values.data(), rows.n, rows.dim, norms.data(), threads);
      EXPECT_EQ(norms, first) << isa;
    }
  }
}

TEST_P(Metrics, RerankEqualsSearchOverItsCandidates) {
  const Matrix rows = normal(300, 20, 12), queries = normal(7, 20, 13);
  std::vector<double> norms(rows.n);
  row_norms(rows.values.data(), rows.n, rows.dim, norms.data(), 1);
  const Vectors vectors{rows.values.data(), rows.n, rows.dim, nullptr, norms.data()};
  std::vector<std::int64_t> candidates;
  for (std::size_t q = 0; q < queries.n; ++q) {
    for (std::int64_t i = 299; i >= 0; --i) candidates.push_back(i);
    candidates.push_back(-1);
  }
  const FloatNeighbors expected = search(rows, queries, 310, GetParam(), {});
  for (const int threads : {1, 3}) {
    const FloatNeighbors found =
        rerank(vectors, queries.values.data(), queries.n, candidates.data(), 301, 310, GetParam(), threads, nullptr);
    EXPECT_EQ(found.ids, expected.ids);
    EXPECT_EQ(found.distances, expected.distances);
  }
}

TEST(FloatTopK, NothingAddedGivesPadding) {
  const Matrix queries = normal(2, 3, 14), none(0, 3);
  const FloatNeighbors found = search(none, queries, 4, Metric::dot, {});
  EXPECT_EQ(found.ids, std::vector<std::int64_t>(8, -1));
  EXPECT_EQ(found.distances, std::vector<float>(8, -std::numeric_limits<float>::infinity()));
}

// Sign, 5 bits of exponent, 10 of fraction: the definition, for every finite number there is.
TEST(Halves, WidenToTheirExactValue) {
  for (unsigned half = 0; half < 0x10000; ++half) {
    const int exponent = static_cast<int>(half >> 10 & 31), fraction = static_cast<int>(half & 1023);
    if (exponent == 31) continue;
    const double magnitude = exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24);
    const float value = widened(static_cast<std::uint16_t>(half));
    ASSERT_EQ(value, half >> 15 ? -magnitude : magnitude) << half;
    ASSERT_EQ(std::signbit(value), (half >> 15) != 0) << half;
  }
}

TEST(Halves, AreRankedAsTheirFloats) {
  std::mt19937 engine(7);
  Matrix rows(300, 21);
  std::vector<std::uint16_t> halves(rows.values.size());
  for (std::size_t i = 0; i < halves.size(); ++i) {
    halves[i] = static_cast<std::uint16_t>(engine() & 0xBFFF);  // up to 2
    rows.values[i] = widened(halves[i]);
  }
  const Matrix queries = normal(9, 21, 8);
  std::vector<double> norms(rows.n);
  row_norms(rows.values.data(), rows.n, rows.dim, norms.data(), 1);
  const Vectors floats{rows.values.data(), rows.n, rows.dim, nullptr, norms.data()};
  const Vectors stored{nullptr, rows.n, rows.dim, nullptr, norms.data(), halves.data()};
  std::vector<std::int64_t> candidates(queries.n * 40);
  for (std::int64_t& c : candidates) c = static_cast<std::int64_t>(engine() % rows.n);
  for (const Metric metric : {Metric::cosine, Metric::l2, Metric::dot}) {
    const auto ranked = [&](const Vectors& vectors) {
      return rerank(vectors, queries.values.data(), queries.n, candidates.data(), 40, 10, metric, 2, nullptr);
    };
    const FloatNeighbors found = ranked(stored), expected = ranked(floats);
    EXPECT_EQ(found.ids, expected.ids);
    EXPECT_EQ(found.distances, expected.distances);
  }
}

}  // namespace
}  // namespace simskip::testing
