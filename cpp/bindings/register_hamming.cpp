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

// Python's filters: an int64 array of ascending distinct ids, a boolean mask, or None. Holds the array.
class Where {
 public:
  explicit Where(const py::object& where) : array_(where) {
    if (where.is_none()) return;
    if (py::isinstance<Ids>(where)) {
      const auto ids = py::reinterpret_borrow<Ids>(where);
      require_length(ids, "where", ids.size());
      filter_.ids = ids.data();
      filter_.n = static_cast<std::size_t>(ids.size());
    } else if (py::isinstance<Array<bool>>(where)) {
      const auto mask = py::reinterpret_borrow<Array<bool>>(where);
      require_length(mask, "where", mask.size());
      filter_.mask = mask.data();
      filter_.n = static_cast<std::size_t>(mask.size());
    } else {
      throw py::type_error("where must be a C-contiguous array of int64 or bool, or None");
    }
  }
  const Filter* get() const { return array_.is_none() ? nullptr : &filter_; }

 private:
  py::object array_;
  Filter filter_;
};

// The options that all searches share; `where` must outlive them.
IndexOptions options(std::optional<int> max_distance, const Where& where, int threads) {
  IndexOptions o;
  if (max_distance) o.max_distance = *max_distance;
  o.where = where.get();
  o.threads = threads;
  return o;
}

py::tuple search(const HammingIndex& index, const Bytes& queries, py::ssize_t k, const py::object& where,
                 std::optional<int> max_distance, int threads) {
  const std::size_t n = require_codes(index, queries, "queries");
  require_k(k);
  const Where allowed(where);
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
  const Where allowed(where);
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
  const Where allowed(where);
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
  return dict;
}

}  // namespace

void register_hamming(py::module_& m) {
  m.attr("no_distance") = no_distance;
  m.attr("no_id") = no_id;
  py::class_<HammingIndex>(m, "HammingIndex", "See simskip.HammingIndex, which checks what users pass.")
      .def(py::init<int, std::int64_t>(), py::arg("n_bits"), py::arg("next_id") = 0)
      .def_property_readonly("n_bits", &HammingIndex::n_bits)
      .def("sizes", &sizes, "Bytes of codes, ids and marks; numbers of segments and tombstones.")
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
           "-> distances (n, k) int32, ids (n, k) int64. where: ascending distinct ids, or a mask (n_codes,) bool.")
      .def("search_asymmetric", &search_asymmetric, py::arg("outputs").noconvert(), py::arg("k"),
           py::arg("where") = py::none(), py::arg("threads") = 0,
           "Outputs (n, n_bits) float32 -> distances (n, k) float32, ids (n, k) int64.")
      .def("range_search", &range_search, py::arg("queries").noconvert(), py::arg("radius"),
           py::arg("where") = py::none(), py::arg("threads") = 0,
           "-> limits (n + 1,) int64, distances int32, ids int64.")
      .def("save", &HammingIndex::save, py::arg("path"), py::call_guard<py::gil_scoped_release>())
      .def_static("load", &HammingIndex::load, py::arg("path"), py::arg("map"),
                  py::call_guard<py::gil_scoped_release>());
}

}  // namespace simskip::bindings
