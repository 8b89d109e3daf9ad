#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <variant>

#include "arrays.hpp"
#include "interruptible.hpp"
#include "register.hpp"
#include "simskip/float_top_k.hpp"

namespace simskip::bindings {
namespace {

using Floats = Array<float>;
using Doubles = Array<double>;
using Ids = Array<std::int64_t>;

Metric metric_named(const std::string& name) {
  if (name == "cosine") return Metric::cosine;
  if (name == "l2") return Metric::l2;
  if (name == "dot") return Metric::dot;
  throw py::value_error("metric must be 'cosine', 'l2' or 'dot', got '" + name + "'");
}

// Stored vectors: float32, or the bits of float16.
using Stored = std::variant<Floats, Array<std::uint16_t>>;

Vectors view(const Stored& stored, const std::optional<Ids>& ids, const Doubles& norms) {
  return std::visit(
      [&](const auto& rows) {
        require_shape(rows, "rows", -1, -1);
        if (ids) require_length(*ids, "ids", rows.shape(0));
        require_length(norms, "norms", rows.shape(0));
        Vectors vectors{nullptr, static_cast<std::size_t>(rows.shape(0)), static_cast<std::size_t>(rows.shape(1)),
                        ids ? ids->data() : nullptr, norms.data()};
        if constexpr (std::is_same_v<decltype(rows.data()), const float*>)
          vectors.rows = rows.data();
        else
          vectors.halves = rows.data();
        return vectors;
      },
      stored);
}

// Owns a reference to the query array that FloatTopK points into.
class Search {
 public:
  Search(Floats queries, py::ssize_t k, const std::string& metric, double longest_row, int threads)
      : queries_(checked(std::move(queries), k)),
        n_queries_(static_cast<std::size_t>(queries_.shape(0))),
        k_(static_cast<std::size_t>(k)),
        top_k_(queries_.data(), n_queries_, static_cast<std::size_t>(queries_.shape(1)), k_, metric_named(metric),
               longest_row, threads) {}

  void add(const Floats& products, const std::optional<Ids>& rows, std::int64_t first_row, const Doubles& norms) {
    require_shape(products, "products", static_cast<py::ssize_t>(n_queries_), -1);
    if (rows) require_length(*rows, "rows", products.shape(1));
    require_length(norms, "norms", products.shape(1));
    const float* data = products.data();
    const auto n = static_cast<std::size_t>(products.shape(1));
    const std::int64_t* row_data = rows ? rows->data() : nullptr;
    const double* norm_data = norms.data();
    py::gil_scoped_release release;
    const auto count = static_cast<std::int64_t>(n);
    if (first_row > std::numeric_limits<std::int64_t>::max() - count) throw std::invalid_argument("no such first_row");
    std::int64_t first = first_row, last = first_row + count - 1;
    if (row_data && n) {
      const auto [least, most] = std::minmax_element(row_data, row_data + n);
      first = *least;
      last = *most;
    }
    if (n && first < 0) throw std::invalid_argument("rows and first_row must not be negative");
    last_row_ = std::max(last_row_, last);
    top_k_.add(data, n, row_data, first_row, norm_data);
  }

  py::tuple finish(const Stored& rows, const std::optional<Ids>& ids, const Doubles& norms) const {
    const Vectors vectors = view(rows, ids, norms);
    if (vectors.dim != static_cast<std::size_t>(queries_.shape(1)))
      throw py::value_error("rows and queries differ in width");
    if (last_row_ >= static_cast<std::int64_t>(vectors.n)) throw py::value_error("rows that were added are not there");
    FloatNeighbors found = interruptible([&](Interrupt& interrupt) { return top_k_.finish(vectors, &interrupt); });
    return to_tuple(std::move(found), n_queries_, k_);
  }

 private:
  static Floats checked(Floats queries, py::ssize_t k) {
    require_shape(queries, "queries", -1, -1);
    require_k(k);
    return queries;
  }

  Floats queries_;
  std::size_t n_queries_, k_;
  std::int64_t last_row_ = -1;
  FloatTopK top_k_;
};

py::tuple rerank_rows(const Stored& rows, const std::optional<Ids>& ids, const Doubles& norms, const Floats& queries,
                      const Ids& candidates, py::ssize_t k, const std::string& metric, int threads) {
  require_k(k);
  const Vectors vectors = view(rows, ids, norms);
  require_shape(queries, "queries", -1, static_cast<py::ssize_t>(vectors.dim));
  require_shape(candidates, "candidates", queries.shape(0), -1);
  const std::int64_t* candidate_data = candidates.data();
  for (py::ssize_t i = 0; i < candidates.size(); ++i)
    if (candidate_data[i] >= static_cast<std::int64_t>(vectors.n))
      throw py::value_error("candidates name rows that are not there");
  const auto n = static_cast<std::size_t>(queries.shape(0));
  const auto n_candidates = static_cast<std::size_t>(candidates.shape(1));
  const float* query_data = queries.data();
  const Metric m = metric_named(metric);
  FloatNeighbors found = interruptible([&](Interrupt& interrupt) {
    return rerank(vectors, query_data, n, candidate_data, n_candidates, static_cast<std::size_t>(k), m, threads,
                  &interrupt);
  });
  return to_tuple(std::move(found), n, static_cast<std::size_t>(k));
}

Doubles norms_of(const Floats& rows, int threads) {
  require_shape(rows, "rows", -1, -1);
  Doubles norms(rows.shape(0));
  const float* data = rows.data();
  double* out = norms.mutable_data();
  const auto n = static_cast<std::size_t>(rows.shape(0)), dim = static_cast<std::size_t>(rows.shape(1));
  py::gil_scoped_release release;
  row_norms(data, n, dim, out, threads);
  return norms;
}

}  // namespace

void register_floats(py::module_& m) {
  m.attr("shortest_norm") = shortest_norm;
  m.attr("longest_norm") = longest_norm;
  m.def("row_norms", &norms_of, py::arg("rows").noconvert(), py::arg("threads") = 0,
        "(n, dim) float32 -> (n,) float64 euclidean lengths.");
  m.def("rerank", &rerank_rows, py::arg("rows").noconvert(), py::arg("ids").noconvert(), py::arg("norms").noconvert(),
        py::arg("queries").noconvert(), py::arg("candidates").noconvert(), py::arg("k"), py::arg("metric"),
        py::arg("threads") = 0, "Order candidate rows (n_queries, c; -1: none) by the exact metric; keep k.");
  py::class_<Search>(m, "FloatTopK", "One exact float search: see float_top_k.hpp.")
      .def(py::init<Floats, py::ssize_t, std::string, double, int>(), py::arg("queries").noconvert(), py::arg("k"),
           py::arg("metric"), py::arg("longest_row"), py::arg("threads") = 0)
      .def("add", &Search::add, py::arg("products").noconvert(), py::arg("rows").noconvert(), py::arg("first_row"),
           py::arg("norms").noconvert(), "Products (n_queries, n) of the queries with a block of rows.")
      .def("finish", &Search::finish, py::arg("rows").noconvert(), py::arg("ids").noconvert(),
           py::arg("norms").noconvert(), "-> distances (n_queries, k) float32, ids (n_queries, k) int64.");
}

}  // namespace simskip::bindings
