// Table of contents of simskip._learn.
#include <pybind11/pybind11.h>

#include "register_learn.hpp"

PYBIND11_MODULE(_learn, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Native trainer of simskip: hash networks with LibTorch. Loaded when somebody trains.";
  simskip::bindings::register_learn_settings(m);
  simskip::bindings::register_learn_train(m);
}
