#include "arrays.hpp"
#include "register.hpp"
#include "simskip/linear_hash.hpp"

namespace simskip::bindings {
namespace {

Array<double> new_matrix(py::ssize_t rows, py::ssize_t columns) {
  if (rows < 1 || columns < 1) throw py::value_error("a matrix needs at least one row and one column");
  return Array<double>({rows, columns});
}

Array<double> gaussian_matrix(std::uint64_t seed, py::ssize_t rows, py::ssize_t columns) {
  Array<double> matrix = new_matrix(rows, columns);
  double* out = matrix.mutable_data();
  const auto n = static_cast<std::size_t>(matrix.size());
  {
    py::gil_scoped_release release;
    gaussian(seed, n, out);
  }
  return matrix;
}

Array<double> random_orthogonal_matrix(std::uint64_t seed, py::ssize_t rows, py::ssize_t columns) {
  Array<double> matrix = new_matrix(rows, columns);
  double* out = matrix.mutable_data();
  {
    py::gil_scoped_release release;
    random_orthogonal(seed, static_cast<std::size_t>(rows), static_cast<std::size_t>(columns), out);
  }
  return matrix;
}

py::tuple principal_axes_of(const Array<double>& covariance, py::ssize_t n_axes) {
  require_shape(covariance, "covariance", -1, -1);
  const py::ssize_t dim = covariance.shape(0);
  require_shape(covariance, "covariance", dim, dim);
  if (n_axes < 1 || n_axes > dim) throw py::value_error("n_axes goes from 1 to the number of columns");
  Array<double> axes = new_matrix(dim, n_axes);
  Array<double> variances(n_axes);
  const double* in = covariance.data();
  double* axes_out = axes.mutable_data();
  double* variances_out = variances.mutable_data();
  {
    py::gil_scoped_release release;
    principal_axes(in, static_cast<std::size_t>(dim), static_cast<std::size_t>(n_axes), axes_out, variances_out);
  }
  return py::make_tuple(axes, variances);
}

Array<double> nearest_orthogonal_to(const Array<double>& matrix) {
  require_shape(matrix, "matrix", -1, -1);
  Array<double> nearest = new_matrix(matrix.shape(0), matrix.shape(1));
  const double* in = matrix.data();
  double* out = nearest.mutable_data();
  const auto rows = static_cast<std::size_t>(matrix.shape(0));
  const auto columns = static_cast<std::size_t>(matrix.shape(1));
  {
    py::gil_scoped_release release;
    nearest_orthogonal(in, rows, columns, out);
  }
  return nearest;
}

}  // namespace

void register_linear(py::module_& m) {
  m.def("gaussian", &gaussian_matrix, py::arg("seed"), py::arg("rows"), py::arg("columns"),
        "(rows, columns) float64 of standard normal numbers, the same everywhere for the same seed.");
  m.def("random_orthogonal", &random_orthogonal_matrix, py::arg("seed"), py::arg("rows"), py::arg("columns"),
        "(rows, columns) float64 with orthonormal columns (or rows, if there are fewer rows), uniformly random.");
  m.def("principal_axes", &principal_axes_of, py::arg("covariance").noconvert(), py::arg("n_axes"),
        "(d, d) float64 -> (d, n_axes) float64 leading eigenvectors and their (n_axes,) eigenvalues.");
  m.def("nearest_orthogonal", &nearest_orthogonal_to, py::arg("matrix").noconvert(),
        "The matrix R with orthonormal columns (or rows) that maximises trace(R^T matrix).");
}

}  // namespace simskip::bindings
