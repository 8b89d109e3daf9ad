// Linear algebra behind linear hashers: random directions, principal axes, nearest rotations.
//
// Matrices are row-major and owned by the caller. Everything runs on the calling thread and gives the same bytes
// for the same input, so a seed is enough to repeat a hasher. Products with the data belong to the caller's BLAS:
// what arrives here is at most columns x columns.
// Throws std::invalid_argument for impossible sizes or values that are not finite.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simskip {

// n independent standard normal numbers: std::mt19937_64, whose output the C++ standard fixes, and the Box-Muller
// transform instead of std::normal_distribution, whose algorithm it leaves open.
void gaussian(std::uint64_t seed, std::size_t n, double* values);

// A random (rows, columns) matrix, uniform (Haar) among those with orthonormal columns, or with orthonormal rows if
// there are more columns than rows: Q of the QR decomposition of a Gaussian matrix, with R's diagonal made positive.
void random_orthogonal(std::uint64_t seed, std::size_t rows, std::size_t columns, double* matrix);

// The n_axes leading eigenvectors of a symmetric (dim, dim) matrix, of which the lower triangle is read.
// axes: (dim, n_axes), one per column, by falling eigenvalue, each with its entry of largest size positive (the first
// one among equals); variances: the n_axes eigenvalues.
void principal_axes(const double* covariance, std::size_t dim, std::size_t n_axes, double* axes, double* variances);

// Orthogonal Procrustes problem: the (rows, columns) matrix R with orthonormal columns (or rows, if there are fewer
// rows) that maximises trace(R^T M): U V^T of the thin singular value decomposition M = U S V^T.
// Where M lacks rank, one of the maximisers.
void nearest_orthogonal(const double* matrix, std::size_t rows, std::size_t columns, double* nearest);

}  // namespace simskip
