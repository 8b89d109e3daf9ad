// The border between NumPy and the core: the only place that turns arrays into pointers and back.
//
// Python code in simskip checks what users pass and speaks to them in its own words; the checks here
// are the last line against memory errors and raise ValueError too.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace simskip::bindings {

namespace py = pybind11;

// C-contiguous array of exactly this type: with noconvert() on the argument nothing is copied silently.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

inline constexpr py::ssize_t max_k = 0x7FFFFFFF;

template <class T>
void require_shape(const Array<T>& array, const char* name, py::ssize_t rows, py::ssize_t columns) {
  if (array.ndim() != 2 || (rows >= 0 && array.shape(0) != rows) || (columns >= 0 && array.shape(1) != columns))
    throw py::value_error(std::string(name) + " has the wrong shape");
}

template <class T>
void require_length(const Array<T>& array, const char* name, py::ssize_t length) {
  if (array.ndim() != 1 || array.shape(0) != length)
    throw py::value_error(std::string(name) + " must be one-dimensional with " + std::to_string(length) + " entries");
}

// Bounded so that the number of results, n times k, cannot overflow.
inline void require_k(py::ssize_t k) {
  if (k < 1 || k > max_k) throw py::value_error("k goes from 1 to " + std::to_string(max_k));
}

// Hands a vector's buffer to NumPy without a copy.
template <class T>
py::array_t<T> to_array(std::vector<T>&& values, std::vector<py::ssize_t> shape) {
  auto owner = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owner->data();
  py::capsule free_when_done(owner.get(), [](void* p) { delete static_cast<std::vector<T>*>(p); });
  owner.release();
  return py::array_t<T>(std::move(shape), data, free_when_done);
}

template <class T>
py::array_t<T> to_array(std::vector<T>&& values) {
  const auto n = static_cast<py::ssize_t>(values.size());
  return to_array(std::move(values), {n});
}

// What every Top-K search returns: (distances, ids), both (n_queries, k).
template <class Found>
py::tuple to_tuple(Found&& found, std::size_t n_queries, std::size_t k) {
  const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(n_queries), static_cast<py::ssize_t>(k)};
  return py::make_tuple(to_array(std::move(found.distances), shape), to_array(std::move(found.ids), shape));
}

}  // namespace simskip::bindings
