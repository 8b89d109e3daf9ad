// Table of contents of simskip._core.
#include <pybind11/pybind11.h>

#include "register.hpp"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Native core of simskip: packing, exact search, linear hashers. No torch.";
  simskip::bindings::register_cpu(m);
  simskip::bindings::register_codes(m);
  simskip::bindings::register_linear(m);
}
