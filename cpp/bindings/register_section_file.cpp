#include <pybind11/stl.h>

#include "arrays.hpp"
#include "register.hpp"
#include "simskip/section_file.hpp"

namespace simskip::bindings {
namespace {

using Bytes = Array<std::uint8_t>;

void write(const std::string& path, const std::string& kind, const std::vector<std::pair<std::string, Bytes>>& parts) {
  std::vector<Section> sections;
  for (const auto& [name, bytes] : parts)
    sections.push_back({name, bytes.data(), static_cast<std::size_t>(bytes.size())});
  py::gil_scoped_release release;
  write_sections(path, kind, sections);
}

py::dict read(const std::string& path, const std::string& kind, const std::vector<std::string>& trusted) {
  std::shared_ptr<SectionFile> file;
  {
    py::gil_scoped_release release;
    file = std::make_shared<SectionFile>(path, kind, trusted);
  }
  py::dict arrays;
  for (const Section& section : file->sections()) {
    // Each array holds the mapping; read-only, because the memory is.
    py::capsule holder(new std::shared_ptr<SectionFile>(file),
                       [](void* p) { delete static_cast<std::shared_ptr<SectionFile>*>(p); });
    py::array_t<std::uint8_t> array({static_cast<py::ssize_t>(section.size)},
                                    static_cast<const std::uint8_t*>(section.data), holder);
    array.attr("flags").attr("writeable") = false;
    arrays[py::str(section.name)] = array;
  }
  return arrays;
}

}  // namespace

void register_section_file(py::module_& m) {
  m.def("write_sections", &write, py::arg("path"), py::arg("kind"), py::arg("sections"),
        "Atomically write named uint8 arrays as a format v1 file.");
  m.def("read_sections", &read, py::arg("path"), py::arg("kind"), py::arg("trusted") = std::vector<std::string>{},
        "Map a format v1 file: name -> read-only (bytes,) uint8. Sections in `trusted` are not verified.");
}

}  // namespace simskip::bindings
