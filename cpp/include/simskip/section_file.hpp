// Format v1: what every simskip file but safetensors looks like.
//
//   header   64 bytes: magic "simskip\n", u32 version, u32 section count, u64 file size, char kind[32] (zero padded),
//            u32 CRC-32C of the table, u32 CRC-32C of the header with this field zero
//   table    64 bytes per section: char name[40] (zero padded), u64 offset, u64 size, u32 CRC-32C, u32 zero
//   sections each at a multiple of 64 bytes, in table order, zeros between them, nothing after the last
//
// Integers are little-endian. Every byte is covered: header and table by their checksums, sections by theirs, the gaps
// by being zero. A damaged or hostile file gives FormatError; nothing is allocated by the file's word alone.
// Writing is atomic: a temporary file in the same folder, synced, then renamed over the old one, the folder synced. A
// process killed while it writes leaves its temporary file PATH.tmp-PID-N behind: one for each kill, read by nobody,
// deleted by nobody (its writer might be alive on another machine).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace simskip {

struct FormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// CRC-32C (Castagnoli) of `size` bytes, continuing from `crc` (0 to start).
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t crc = 0);

struct Section {
  std::string name;
  const void* data;
  std::size_t size;  // bytes
};

// Throws std::system_error with the path and the reason; then the old file is as it was.
void write_sections(const std::string& path, const std::string& kind, const std::vector<Section>& sections);

// A mapped file whose header, table, gaps and sections were verified; sections named in `trusted` are not read (opening
// a file of any size then takes as long as reading the others).
// Pointers into it stay valid while it or a copy lives. Changing the file while it is mapped is not detected.
class SectionFile {
 public:
  // Throws FormatError (wrong kind included), std::system_error if the file cannot be opened.
  SectionFile(const std::string& path, const std::string& kind, const std::vector<std::string>& trusted = {});

  const std::vector<Section>& sections() const { return sections_; }
  // Throws FormatError if there is none of that name.
  const Section& section(const std::string& name) const;

  // A copy of a section as whole values. Throws FormatError if its size is no multiple of theirs.
  template <class T>
  std::vector<T> read(const std::string& name) const {
    const Section& s = section(name);
    if (s.size % sizeof(T)) throw FormatError(path_ + ": section '" + name + "' has a broken size");
    const T* values = static_cast<const T*>(s.data);
    return s.size ? std::vector<T>(values, values + s.size / sizeof(T)) : std::vector<T>{};
  }
  // A section in place; the pointer holds the mapping.
  template <class T>
  std::shared_ptr<const T> share(const std::string& name) const {
    return {mapping_, static_cast<const T*>(section(name).data)};
  }

 private:
  std::string path_;
  std::shared_ptr<const void> mapping_;
  std::vector<Section> sections_;
};

}  // namespace simskip
