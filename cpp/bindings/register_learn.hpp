// What module_learn.cpp lists.
#pragma once

#include <pybind11/pybind11.h>

namespace simskip::bindings {

void register_learn_settings(pybind11::module_& m);
void register_learn_train(pybind11::module_& m);

}  // namespace simskip::bindings
