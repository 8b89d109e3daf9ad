// Table of contents of simskip._core.
#include <pybind11/pybind11.h>

#include "register.hpp"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Native core of simskip: packing, exact search, linear hashers. No torch.";
  using namespace simskip::bindings;
  register_errors(m);
  register_cpu(m);
  register_codes(m);
  register_section_file(m);
  register_hamming(m);
  register_floats(m);
  register_linear(m);
}
