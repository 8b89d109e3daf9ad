#include "simskip/linear_hash.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

namespace {

// The product of column a and column b of a (rows, columns) matrix.
double dot_columns(const std::vector<double>& m, std::size_t rows, std::size_t columns, std::size_t a, std::size_t b) {
  double sum = 0;
  for (std::size_t i = 0; i < rows; ++i) sum += m[i * columns + a] * m[i * columns + b];
  return sum;
}

double dot_rows(const std::vector<double>& m, std::size_t columns, std::size_t a, std::size_t b) {
  double sum = 0;
  for (std::size_t j = 0; j < columns; ++j) sum += m[a * columns + j] * m[b * columns + j];
  return sum;
}

TEST(LinearHash, GaussianIsOneStreamPerSeed) {
  std::vector<double> odd(7), even(8), other(8);
  simskip::gaussian(42, odd.size(), odd.data());
  simskip::gaussian(42, even.size(), even.data());
  simskip::gaussian(43, other.size(), other.data());
  for (std::size_t i = 0; i < odd.size(); ++i) EXPECT_EQ(odd[i], even[i]);
  EXPECT_NE(even, other);
}

// Golden values: a seed must give these hyperplanes forever, with any standard library.
TEST(LinearHash, GaussianGolden) {
  std::vector<double> values(3);
  simskip::gaussian(0, values.size(), values.data());
  EXPECT_NEAR(values[0], 1.9128045292843205, 1e-15);
  EXPECT_NEAR(values[1], -0.09447956112584306, 1e-15);
  EXPECT_NEAR(values[2], -2.079407906239395, 1e-15);
}

TEST(LinearHash, GaussianMoments) {
  std::vector<double> values(100000);
  simskip::gaussian(7, values.size(), values.data());
  double sum = 0, squares = 0, fourth = 0;
  for (const double v : values) {
    sum += v;
    squares += v * v;
    fourth += v * v * v * v;
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 0.02);
  EXPECT_NEAR(squares / n, 1, 0.03);
  EXPECT_NEAR(fourth / n, 3, 0.2);
}

TEST(LinearHash, RandomOrthogonalTall) {
  constexpr std::size_t rows = 9, columns = 4;
  std::vector<double> q(rows * columns);
  simskip::random_orthogonal(1, rows, columns, q.data());
  for (std::size_t a = 0; a < columns; ++a)
    for (std::size_t b = 0; b < columns; ++b)
      EXPECT_NEAR(dot_columns(q, rows, columns, a, b), a == b ? 1.0 : 0.0, 1e-14);
}

TEST(LinearHash, RandomOrthogonalWideIsTheTransposeOfTall) {
  constexpr std::size_t rows = 3, columns = 8;
  std::vector<double> wide(rows * columns), tall(rows * columns);
  simskip::random_orthogonal(1, rows, columns, wide.data());
  simskip::random_orthogonal(1, columns, rows, tall.data());
  for (std::size_t a = 0; a < rows; ++a) {
    for (std::size_t b = 0; b < rows; ++b) EXPECT_NEAR(dot_rows(wide, columns, a, b), a == b ? 1.0 : 0.0, 1e-14);
    for (std::size_t j = 0; j < columns; ++j) EXPECT_EQ(wide[a * columns + j], tall[j * rows + a]);
  }
}

TEST(LinearHash, PrincipalAxesOfADiagonalMatrix) {
  // Variances 1, 9, 4: axes 1, 2, 0, each with its largest entry positive.
  const std::vector<double> covariance{1, 0, 0, 0, 9, 0, 0, 0, 4};
  std::vector<double> axes(9), variances(3);
  simskip::principal_axes(covariance.data(), 3, 3, axes.data(), variances.data());
  EXPECT_EQ(variances, (std::vector<double>{9, 4, 1}));
  const std::vector<double> expected{0, 0, 1, 1, 0, 0, 0, 1, 0};
  for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(axes[i], expected[i], 1e-15);
}

TEST(LinearHash, PrincipalAxesReadTheLowerTriangle) {
  const std::vector<double> lower{2, 1e9, 1, 2};
  std::vector<double> axes(2), variances(1);
  simskip::principal_axes(lower.data(), 2, 1, axes.data(), variances.data());
  EXPECT_NEAR(variances[0], 3, 1e-14);
  EXPECT_NEAR(axes[0], std::sqrt(0.5), 1e-14);
  EXPECT_NEAR(axes[1], std::sqrt(0.5), 1e-14);
}

TEST(LinearHash, NearestToAScaledRotationIsTheRotation) {
  const double c = std::cos(0.3), s = std::sin(0.3);
  const std::vector<double> matrix{5 * c, -5 * s, 5 * s, 5 * c};
  std::vector<double> nearest(4);
  simskip::nearest_orthogonal(matrix.data(), 2, 2, nearest.data());
  const std::vector<double> expected{c, -s, s, c};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(nearest[i], expected[i], 1e-14);
}

TEST(LinearHash, NearestOfRankOneIsStillOrthogonal) {
  const std::vector<double> matrix{1, 1, 1, 1, 1, 1};
  std::vector<double> nearest(6);
  simskip::nearest_orthogonal(matrix.data(), 2, 3, nearest.data());
  for (std::size_t a = 0; a < 2; ++a)
    for (std::size_t b = 0; b < 2; ++b) EXPECT_NEAR(dot_rows(nearest, 3, a, b), a == b ? 1.0 : 0.0, 1e-14);
}

TEST(LinearHash, ImpossibleInputThrows) {
  double one = 1, out = 0, variance = 0;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(simskip::random_orthogonal(0, 0, 1, &out), std::invalid_argument);
  EXPECT_THROW(simskip::principal_axes(&one, 1, 2, &out, &variance), std::invalid_argument);
  EXPECT_THROW(simskip::principal_axes(&nan, 1, 1, &out, &variance), std::invalid_argument);
  EXPECT_THROW(simskip::nearest_orthogonal(&nan, 1, 1, &out), std::invalid_argument);
  EXPECT_THROW(simskip::nearest_orthogonal(&one, 1, 0, &out), std::invalid_argument);
}

}  // namespace
