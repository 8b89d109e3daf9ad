// What the module files list: each function adds one room to a module.
#pragma once

#include <pybind11/pybind11.h>

namespace simskip::bindings {

void register_cpu(pybind11::module_& m);
void register_codes(pybind11::module_& m);
void register_linear(pybind11::module_& m);

}  // namespace simskip::bindings
