#include <system_error>

#include "register.hpp"
#include "simskip/section_file.hpp"

namespace simskip::bindings {

void register_errors(pybind11::module_&) {
  namespace py = pybind11;
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const FormatError& e) {
      py::set_error(py::module_::import("simskip.errors").attr("FormatError"), e.what());
    } catch (const std::system_error& e) {
      // OSError(errno, text) becomes FileNotFoundError, PermissionError, ... by its number.
      const py::object os_error = py::module_::import("builtins").attr("OSError")(e.code().value(), e.what());
      PyErr_SetObject(py::type::of(os_error).ptr(), os_error.ptr());
    }
  });
}

}  // namespace simskip::bindings
