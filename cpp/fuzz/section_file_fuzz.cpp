// Any bytes as a file of sections: FormatError, or sections that lie inside the file and survive being written again.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "input.hpp"
#include "simskip/section_file.hpp"

namespace {

using namespace simskip;

void read(const std::vector<std::uint8_t>& bytes) {
  const fuzz::MemoryFile file(bytes);
  // The kind that the file says it is of: otherwise the kind is the only thing that is ever checked.
  std::string kind = "hamming";
  if (bytes.size() >= 56) kind.assign(bytes.begin() + 24, std::find(bytes.begin() + 24, bytes.begin() + 56, 0));
  try {
    const SectionFile sections(file.path(), kind);
    std::size_t total = 0;
    for (const Section& section : sections.sections()) {
      total += section.size;
      const auto* data = static_cast<const std::uint8_t*>(section.data);
      const std::vector<std::uint8_t> copy(data, data + section.size);  // a sanitizer sees every byte being read
      const Section& first = sections.section(section.name);
      if (first.size % 8 == 0) {
        fuzz::require(sections.read<std::int64_t>(section.name).size() == first.size / 8, "whole values are read");
      } else {
        try {
          sections.read<std::int64_t>(section.name);
          fuzz::require(false, "a broken size is an error");
        } catch (const FormatError&) {
        }
      }
      if (section.size && first.data == section.data)
        fuzz::require(*sections.share<std::uint8_t>(section.name) == copy[0], "shared bytes are the section's");
    }
    fuzz::require(total <= bytes.size(), "sections fit into the file");
  } catch (const FormatError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::uint8_t> bytes(data, data + size);
  read(bytes);
  read(fuzz::sealed(bytes));
  return 0;
}
