#include <pybind11/stl.h>

#include "register.hpp"
#include "simskip/isa.hpp"
#include "simskip/threads.hpp"

namespace simskip::bindings {

void register_cpu(pybind11::module_& m) {
  namespace py = pybind11;
  m.def("available_isas", &available_isas, "Instruction sets with kernels that run here, best first.");
  m.def("active_isa", &active_isa, "The instruction set in use.");
  m.def("force_isa", &force_isa, py::arg("name"), "Use another available instruction set.");
  m.def("default_threads", &default_threads, "Threads used by native calls that are not told otherwise.");
  m.def("set_default_threads", &set_default_threads, py::arg("n"), "Set it; n < 1 restores the initial value.");
}

}  // namespace simskip::bindings
