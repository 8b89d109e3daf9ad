#include "simskip/linear_hash.hpp"

#include <Eigen/Dense>
#include <cmath>
#include <numbers>
#include <random>
#include <stdexcept>
#include <string>

namespace simskip {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ColumnMatrix = Eigen::MatrixXd;

Eigen::Index index(std::size_t n) { return static_cast<Eigen::Index>(n); }

void require_positive(std::size_t rows, std::size_t columns) {
  if (rows < 1 || columns < 1)
    throw std::invalid_argument("a matrix needs rows and columns, got " + std::to_string(rows) + " x " +
                                std::to_string(columns));
}

template <class M>
void require_finite(const M& matrix) {
  if (!matrix.allFinite()) throw std::invalid_argument("the matrix holds NaN or infinity");
}

void fix_sign(Eigen::Ref<Eigen::VectorXd> axis) {
  Eigen::Index largest = 0;
  axis.cwiseAbs().maxCoeff(&largest);  // the first one among equals
  if (axis[largest] < 0) axis = -axis;
}

}  // namespace

void gaussian(std::uint64_t seed, std::size_t n, double* values) {
  std::mt19937_64 engine(seed);
  constexpr double unit = 0x1p-53;
  for (std::size_t i = 0; i < n; i += 2) {
    // In (0, 1], so that the logarithm is finite.
    const double u = static_cast<double>((engine() >> 11) + 1) * unit;
    const double angle = 2.0 * std::numbers::pi * static_cast<double>(engine() >> 11) * unit;
    const double radius = std::sqrt(-2.0 * std::log(u));
    values[i] = radius * std::cos(angle);
    if (i + 1 < n) values[i + 1] = radius * std::sin(angle);
  }
}

void random_orthogonal(std::uint64_t seed, std::size_t rows, std::size_t columns, double* matrix) {
  require_positive(rows, columns);
  const bool wide = columns > rows;
  const std::size_t tall = wide ? columns : rows;
  const std::size_t narrow = wide ? rows : columns;
  Matrix values(index(tall), index(narrow));
  gaussian(seed, tall * narrow, values.data());
  const Eigen::HouseholderQR<ColumnMatrix> qr(values);
  ColumnMatrix q = qr.householderQ() * ColumnMatrix::Identity(index(tall), index(narrow));
  // Householder's R has diagonal entries of either sign; only with positive ones is Q uniformly distributed.
  for (Eigen::Index j = 0; j < q.cols(); ++j)
    if (qr.matrixQR()(j, j) < 0) q.col(j) = -q.col(j);
  Eigen::Map<Matrix> out(matrix, index(rows), index(columns));
  if (wide)
    out = q.transpose();
  else
    out = q;
}

void principal_axes(const double* covariance, std::size_t dim, std::size_t n_axes, double* axes, double* variances) {
  require_positive(dim, n_axes);
  if (n_axes > dim)
    throw std::invalid_argument("a matrix of " + std::to_string(dim) + " columns has no " + std::to_string(n_axes) +
                                " principal axes");
  const ColumnMatrix symmetric = Eigen::Map<const Matrix>(covariance, index(dim), index(dim));
  require_finite(symmetric);
  const Eigen::SelfAdjointEigenSolver<ColumnMatrix> solver(symmetric);
  if (solver.info() != Eigen::Success) throw std::invalid_argument("the eigenvalue iteration did not converge");
  // Eigen's order is rising.
  ColumnMatrix leading = solver.eigenvectors().rightCols(index(n_axes)).rowwise().reverse();
  for (Eigen::Index j = 0; j < leading.cols(); ++j) fix_sign(leading.col(j));
  Eigen::Map<Matrix>(axes, index(dim), index(n_axes)) = leading;
  Eigen::Map<Eigen::VectorXd>(variances, index(n_axes)) = solver.eigenvalues().tail(index(n_axes)).reverse();
}

void nearest_orthogonal(const double* matrix, std::size_t rows, std::size_t columns, double* nearest) {
  require_positive(rows, columns);
  const ColumnMatrix m = Eigen::Map<const Matrix>(matrix, index(rows), index(columns));
  require_finite(m);
  const Eigen::BDCSVD<ColumnMatrix> svd(m, Eigen::ComputeThinU | Eigen::ComputeThinV);
  if (svd.info() != Eigen::Success) throw std::invalid_argument("the singular value decomposition failed");
  Eigen::Map<Matrix>(nearest, index(rows), index(columns)) = svd.matrixU() * svd.matrixV().transpose();
}

}  // namespace simskip
