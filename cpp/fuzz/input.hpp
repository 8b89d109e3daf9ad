// What the fuzzers share: files made of bytes, files with their checksums made right, and reading numbers off an input.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "simskip/section_file.hpp"

namespace simskip::fuzz {

// What fuzzers do when a promise is broken: the engine reports the input.
inline void require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

// A file in memory, under a path that can be opened while it lives.
class MemoryFile {
 public:
  explicit MemoryFile(const std::vector<std::uint8_t>& bytes) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    require(fd_ >= 0, "memfd_create works");
    std::size_t at = 0;
    while (at < bytes.size()) {
      const ssize_t n = ::write(fd_, bytes.data() + at, bytes.size() - at);
      require(n > 0, "a file in memory can be written");
      at += static_cast<std::size_t>(n);
    }
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

// The input with all checksums and the file size of format v1 made right, as far as its own offsets lie inside: what a
// hostile writer does, and the only way past the checksums for an engine that guesses.
inline std::vector<std::uint8_t> sealed(std::vector<std::uint8_t> bytes) {
  constexpr std::size_t header_size = 64, entry_size = 64;
  if (bytes.size() < header_size) return bytes;
  const auto get = [&](std::size_t at, auto value) {
    std::memcpy(&value, &bytes[at], sizeof value);
    return value;
  };
  const auto set = [&](std::size_t at, auto value) { std::memcpy(&bytes[at], &value, sizeof value); };
  const std::size_t n_sections = get(12, std::uint32_t{});
  set(16, std::uint64_t{bytes.size()});
  if (n_sections <= (bytes.size() - header_size) / entry_size) {
    for (std::size_t i = 0; i < n_sections; ++i) {
      const std::size_t entry = header_size + i * entry_size;
      const auto offset = get(entry + 40, std::uint64_t{}), size = get(entry + 48, std::uint64_t{});
      if (offset <= bytes.size() && size <= bytes.size() - offset) set(entry + 56, crc32c(bytes.data() + offset, size));
    }
    set(56, crc32c(bytes.data() + header_size, n_sections * entry_size));
  }
  set(60, std::uint32_t{0});
  set(60, crc32c(bytes.data(), header_size));
  return bytes;
}

// Takes numbers off the front of an input; zeros when it is used up.
class Reader {
 public:
  Reader(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  std::uint8_t byte() {
    if (!size_) return 0;
    --size_;
    return *data_++;
  }
  // From 0 to end - 1.
  std::size_t below(std::size_t end) {
    std::size_t value = byte();
    if (end > 256) value = value << 8 | byte();
    return value % end;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

}  // namespace simskip::fuzz
