// What the module files list: each function adds one room to a module.
#pragma once

#include <pybind11/pybind11.h>

namespace simskip::bindings {

void register_cpu(pybind11::module_& m);
void register_errors(pybind11::module_& m);
void register_codes(pybind11::module_& m);
void register_hamming(pybind11::module_& m);
void register_floats(pybind11::module_& m);
void register_section_file(pybind11::module_& m);
void register_linear(pybind11::module_& m);

}  // namespace simskip::bindings
