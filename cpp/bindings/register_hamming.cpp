#include <pybind11/stl.h>

#include <optional>

#include "arrays.hpp"
#include "interruptible.hpp"
#include "register.hpp"
#include "simskip/codes.hpp"
#include "simskip/hamming_index.hpp"

namespace simskip::bindings {
namespace {

using Bytes = Array<std::uint8_t>;
using Ids = Array<std::int64_t>;

std::size_t require_codes(const HammingIndex& index, const Bytes& codes, const char* name) {
  require_shape(codes, name, -1, static_cast<py::ssize_t>(bytes_per_code(index.n_bits())));
  return static_cast<std::size_t>(codes.shape(0));
}

constexpr const char* methods[] = {"auto", "scan", "multi-index"};  // in the order of Method

Method to_method(const std::string& name) {
  for (int method = 0; method < 3; ++method)
    if (name == methods[method]) return static_cast<Method>(method);
  throw py::value_error("method must be 'auto', 'scan' or 'multi-index'");
}

// Python's filters: an int64 array of ascending distinct ids, a boolean mask, None, or, for a filter per query,
// (list of such arrays, int32 array with each query's place in it or -1). Holds the arrays.
class Where {
 public:
  Where(const py::object& where, std::size_t n_queries) : where_(where) {
    if (where.is_none()) return;
    if (!py::isinstance<py::tuple>(where)) {
      filter_ = to_filter(where);
      return;
    }
    const auto pair = where.cast<py::tuple>();
    if (pair.size() != 2 || !py::isinstance<Array<std::int32_t>>(pair[1]))
      throw py::type_error("where must be (list of filters, int32 array)");
    for (const py::handle filter : pair[0].cast<py::list>())
      each_.filters.push_back(to_filter(py::reinterpret_borrow<py::object>(filter)));
    const auto places = py::reinterpret_borrow<Array<std::int32_t>>(pair[1]);
    require_length(places, "where", static_cast<py::ssize_t>(n_queries));
    each_.of_query.assign(places.data(), places.data() + places.size());
    for (const std::int32_t place : each_.of_query)
      if (place >= static_cast<std::int32_t>(each_.filters.size())) throw py::value_error("where has no such filter");
  }

  void set(IndexOptions& options) const {
    if (where_.is_none()) return;
    if (py::isinstance<py::tuple>(where_))
      options.each = &each_;
    else
      options.where = &filter_;
  }

 private:
  static Filter to_filter(const py::object& where) {
    if (py::isinstance<Ids>(where)) {
      const auto ids = py::reinterpret_borrow<Ids>(where);
      require_length(ids, "where", ids.size());
      return {ids.data(), nullptr, static_cast<std::size_t>(ids.size())};
    }
    if (py::isinstance<Array<bool>>(where)) {
      const auto mask = py::reinterpret_borrow<Array<bool>>(where);
      require_length(mask, "where", mask.size());
      return {nullptr, mask.data(), static_cast<std::size_t>(mask.size())};
    }
    throw py::type_error("where must be a C-contiguous array of int64 or bool, or None");
  }

  py::object where_;
  Filter filter_;
  QueryFilters each_;
};

// The options that all searches share; `where` must outlive them.
IndexOptions options(std::optional<int> max_distance, const Where& where, int threads) {
  IndexOptions o;
  if (max_distance) o.max_distance = *max_distance;
  where.set(o);
  o.threads = threads;
  return o;
}

py::tuple search(const HammingIndex& index, const Bytes& queries, py::ssize_t k, const py::object& where,
                 std::optional<int> max_distance, int threads) {
  const std::size_t n = require_codes(index, queries, "queries");
  require_k(k);
  const Where allowed(where, n);
  IndexOptions o = options(max_distance, allowed, threads);
  const std::uint8_t* data = queries.data();
  Neighbors found = interruptible([&](Interrupt& interrupt) {
    o.interrupt = &interrupt;
    return index.search(data, n, static_cast<std::size_t>(k), o);
  });
  return to_tuple(std::move(found), n, static_cast<std::size_t>(k));
}

py::tuple search_asymmetric(const HammingIndex& index, const Array<float>& outputs, py::ssize_t k,
                            const py::object& where, int threads) {
  require_shape(outputs, "outputs", -1, index.n_bits());
  require_k(k);
  const auto n = static_cast<std::size_t>(outputs.shape(0));
  const Where allowed(where, n);
  IndexOptions o = options(std::nullopt, allowed, threads);
  const float* data = outputs.data();
  FloatNeighbors found = interruptible([&](Interrupt& interrupt) {
    o.interrupt = &interrupt;
    return index.search_asymmetric(data, n, static_cast<std::size_t>(k), o);
  });
  return to_tuple(std::move(found), n, static_cast<std::size_t>(k));
}

py::tuple range_search(const HammingIndex& index, const Bytes& queries, int radius, const py::object& where,
                       int threads) {
  const std::size_t n = require_codes(index, queries, "queries");
  const Where allowed(where, n);
  IndexOptions o = options(radius, allowed, threads);
  const std::uint8_t* data = queries.data();
  Range found = interruptible([&](Interrupt& interrupt) {
    o.interrupt = &interrupt;
    return index.range_search(data, n, o);
  });
  return py::make_tuple(to_array(std::move(found.limits)), to_array(std::move(found.distances)),
                        to_array(std::move(found.ids)));
}

void add(HammingIndex& index, const Bytes& codes, const std::optional<Ids>& ids) {
  const std::size_t n = require_codes(index, codes, "codes");
  if (ids) require_length(*ids, "ids", static_cast<py::ssize_t>(n));
  const std::uint8_t* data = codes.data();
  const std::int64_t* id_data = ids ? ids->data() : nullptr;
  py::gil_scoped_release release;
  index.add(data, id_data, n);
}

void upsert(HammingIndex& index, const Bytes& codes, const Ids& ids) {
  const std::size_t n = require_codes(index, codes, "codes");
  require_length(ids, "ids", static_cast<py::ssize_t>(n));
  const std::uint8_t* data = codes.data();
  const std::int64_t* id_data = ids.data();
  py::gil_scoped_release release;
  index.upsert(data, id_data, n);
}

void remove(HammingIndex& index, const Ids& ids) {
  const std::int64_t* data = ids.data();
  const auto n = static_cast<std::size_t>(ids.size());
  py::gil_scoped_release release;
  index.remove(data, n);
}

void build(const HammingIndex& index, int threads) {
  interruptible([&](Interrupt& interrupt) { index.build(threads, &interrupt); });
}

py::tuple knn_graph(const HammingIndex& index, py::ssize_t k, int threads) {
  require_k(k);
  IndexOptions o;
  o.threads = threads;
  Neighbors graph = interruptible([&](Interrupt& interrupt) {
    o.interrupt = &interrupt;
    return index.knn_graph(static_cast<std::size_t>(k), o);
  });
  const std::size_t n = graph.ids.size() / static_cast<std::size_t>(k);
  return to_tuple(std::move(graph), n, static_cast<std::size_t>(k));
}

py::tuple duplicates(const HammingIndex& index, int radius, int threads) {
  IndexOptions o;
  o.max_distance = radius;
  o.threads = threads;
  HammingIndex::Groups groups = interruptible([&](Interrupt& interrupt) {
    o.interrupt = &interrupt;
    return index.duplicates(o);
  });
  return py::make_tuple(to_array(std::move(groups.limits)), to_array(std::move(groups.ids)));
}

py::array_t<std::uint8_t> codes(const HammingIndex& index, const std::optional<Ids>& ids) {
  const std::int64_t* data = ids ? ids->data() : nullptr;
  const std::size_t n = ids ? static_cast<std::size_t>(ids->size()) : 0;
  std::vector<std::uint8_t> found;
  {
    py::gil_scoped_release release;
    found = index.codes(data, n);
  }
  const auto width = static_cast<py::ssize_t>(bytes_per_code(index.n_bits()));
  const py::ssize_t rows = static_cast<py::ssize_t>(found.size()) / width;
  return to_array(std::move(found), {rows, width});
}

py::array_t<std::int64_t> ids_from(const HammingIndex& index, std::int64_t first, std::size_t count) {
  std::vector<std::int64_t> ids;
  {
    py::gil_scoped_release release;
    ids = index.ids_from(first, count);
  }
  return to_array(std::move(ids));
}

py::dict sizes(const HammingIndex& index) {
  HammingIndex::Sizes sizes;
  {
    py::gil_scoped_release release;
    sizes = index.sizes();
  }
  py::dict dict;
  dict["codes"] = sizes.codes;
  dict["ids"] = sizes.ids;
  dict["marks"] = sizes.marks;
  dict["segments"] = sizes.segments;
  dict["tombstones"] = sizes.tombstones;
  dict["multi_index"] = sizes.multi_index;
  dict["substrings"] = sizes.substrings;
  return dict;
}

py::dict stats(const HammingIndex& index) {
  const SearchStats& stats = index.stats();
  py::dict dict;
  dict["codes"] = stats.codes.load();
  dict["buckets"] = stats.buckets.load();
  dict["by_index"] = stats.by_index.load();
  dict["by_scan"] = stats.by_scan.load();
  return dict;
}

}  // namespace

void register_hamming(py::module_& m) {
  m.attr("no_distance") = no_distance;
  m.attr("no_id") = no_id;
  py::class_<HammingIndex>(m, "HammingIndex", "See simskip.HammingIndex, which checks what users pass.")
      .def(py::init([](int n_bits, std::int64_t next_id, const std::string& name) {
             return std::make_unique<HammingIndex>(n_bits, next_id, to_method(name));
           }),
           py::arg("n_bits"), py::arg("next_id") = 0, py::arg("method") = "auto")
      .def_property_readonly("n_bits", &HammingIndex::n_bits)
      .def_property_readonly("method",
                             [](const HammingIndex& index) { return methods[static_cast<int>(index.method())]; })
      .def("sizes", &sizes, "Bytes of each part; numbers of segments, tombstones and substrings.")
      .def("stats", &stats, "What searches did so far: see SearchStats in multi_index.hpp.")
      .def_property_readonly("next_id",
                             py::cpp_function(&HammingIndex::next_id, py::call_guard<py::gil_scoped_release>()))
      .def("__len__", &HammingIndex::size, py::call_guard<py::gil_scoped_release>())
      .def("__contains__", &HammingIndex::contains, py::arg("id"), py::call_guard<py::gil_scoped_release>())
      .def(
          "ids",
          [](const HammingIndex& index) {
            std::vector<std::int64_t> ids;
            {
              py::gil_scoped_release release;
              ids = index.ids();
            }
            return to_array(std::move(ids));
          },
          "All ids, ascending, (n,) int64.")
      .def("ids_from", &ids_from, py::arg("first"), py::arg("count"), "The first `count` ids >= `first`, ascending.")
      .def("add", &add, py::arg("codes").noconvert(), py::arg("ids").noconvert() = py::none())
      .def("remove", &remove, py::arg("ids").noconvert())
      .def("upsert", &upsert, py::arg("codes").noconvert(), py::arg("ids").noconvert())
      .def("codes", &codes, py::arg("ids").noconvert() = py::none(), "Packed rows of ids, or of all.")
      .def("search", &search, py::arg("queries").noconvert(), py::arg("k"), py::arg("where") = py::none(),
           py::arg("max_distance") = py::none(), py::arg("threads") = 0,
           "-> distances (n, k) int32, ids (n, k) int64. where: ascending distinct ids, a mask (n_codes,) bool, "
           "or (list of such, (n,) int32 places in it).")
      .def("search_asymmetric", &search_asymmetric, py::arg("outputs").noconvert(), py::arg("k"),
           py::arg("where") = py::none(), py::arg("threads") = 0,
           "Outputs (n, n_bits) float32 -> distances (n, k) float32, ids (n, k) int64.")
      .def("range_search", &range_search, py::arg("queries").noconvert(), py::arg("radius"),
           py::arg("where") = py::none(), py::arg("threads") = 0,
           "-> limits (n + 1,) int64, distances int32, ids int64.")
      .def("build", &build, py::arg("threads") = 0)
      .def("knn_graph", &knn_graph, py::arg("k"), py::arg("threads") = 0,
           "-> distances (n, k) int32, ids (n, k) int64, rows in ascending order of id.")
      .def("duplicates", &duplicates, py::arg("radius"), py::arg("threads") = 0,
           "-> limits (groups + 1,) int64, ids int64.")
      .def("save", &HammingIndex::save, py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def_static("load", &HammingIndex::load, py::arg("path"), py::arg("map"),
                  py::call_guard<py::gil_scoped_release>());
}

}  // namespace simskip::bindings
