// Long native calls: without the GIL, stopping when Python has a signal to handle.
#pragma once

#include <pybind11/pybind11.h>

#include "simskip/interrupt.hpp"

namespace simskip::bindings {

// Runs work(interrupt) with the GIL released and returns its result. The views it uses stay valid: the caller's
// argument objects hold their arrays for the whole call. Ctrl-C surfaces as the KeyboardInterrupt that Python's
// handler raised (only the main thread handles signals; in others the poll finds nothing).
template <class Work>
auto interruptible(Work&& work) {
  Interrupt interrupt([] {
    pybind11::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() != 0;
  });
  try {
    pybind11::gil_scoped_release release;
    return work(interrupt);
  } catch (const Interrupted&) {
    throw pybind11::error_already_set();
  }
}

}  // namespace simskip::bindings
