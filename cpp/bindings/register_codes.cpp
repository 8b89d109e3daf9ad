#include "arrays.hpp"
#include "register.hpp"
#include "simskip/codes.hpp"

namespace simskip::bindings {
namespace {

void require_bits(py::ssize_t n_bits) {
  if (n_bits < 1 || n_bits > max_bits) throw py::value_error("bit counts go from 1 to " + std::to_string(max_bits));
}

template <class Value>
Array<std::uint8_t> pack_array(const Array<Value>& values, Value threshold, int threads) {
  require_shape(values, "values", -1, -1);
  require_bits(values.shape(1));
  const auto n = static_cast<std::size_t>(values.shape(0));
  const int n_bits = static_cast<int>(values.shape(1));
  Array<std::uint8_t> codes({values.shape(0), static_cast<py::ssize_t>(bytes_per_code(n_bits))});
  const Value* in = values.data();
  std::uint8_t* out = codes.mutable_data();
  {
    py::gil_scoped_release release;
    pack(in, n, n_bits, threshold, out, threads);
  }
  return codes;
}

Array<std::uint8_t> unpack_array(const Array<std::uint8_t>& codes, int n_bits, int threads) {
  require_bits(n_bits);
  require_shape(codes, "codes", -1, static_cast<py::ssize_t>(bytes_per_code(n_bits)));
  const auto n = static_cast<std::size_t>(codes.shape(0));
  Array<std::uint8_t> bits({codes.shape(0), static_cast<py::ssize_t>(n_bits)});
  const std::uint8_t* in = codes.data();
  std::uint8_t* out = bits.mutable_data();
  {
    py::gil_scoped_release release;
    unpack(in, n, n_bits, out, threads);
  }
  return bits;
}

bool has_padding(const Array<std::uint8_t>& codes, int n_bits) {
  require_bits(n_bits);
  require_shape(codes, "codes", -1, static_cast<py::ssize_t>(bytes_per_code(n_bits)));
  const std::uint8_t* in = codes.data();
  const auto n = static_cast<std::size_t>(codes.shape(0));
  py::gil_scoped_release release;
  return has_padding_bits(in, n, n_bits);
}

}  // namespace

void register_codes(py::module_& m) {
  m.attr("max_bits") = max_bits;
  m.def("pack_float", &pack_array<float>, py::arg("values").noconvert(), py::arg("threshold"), py::arg("threads") = 0,
        "(n, bits) float32 -> (n, ceil(bits/8)) uint8; a bit is 1 where value > threshold.");
  m.def("pack_int8", &pack_array<std::int8_t>, py::arg("values").noconvert(), py::arg("threshold"),
        py::arg("threads") = 0, "The same from int8 (booleans viewed as int8, or -1/+1).");
  m.def("unpack", &unpack_array, py::arg("codes").noconvert(), py::arg("n_bits"), py::arg("threads") = 0,
        "(n, ceil(n_bits/8)) uint8 -> (n, n_bits) uint8 of 0 and 1.");
  m.def("has_padding_bits", &has_padding, py::arg("codes").noconvert(), py::arg("n_bits"),
        "Whether a bit past n_bits is set.");
}

}  // namespace simskip::bindings
