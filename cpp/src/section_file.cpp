#include "simskip/section_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace simskip {
namespace {

constexpr char magic[8] = {'s', 'i', 'm', 's', 'k', 'i', 'p', '\n'};
constexpr std::uint32_t version = 1;
constexpr std::size_t alignment = 64;

struct FileHeader {
  char magic[8];
  std::uint32_t version, n_sections;
  std::uint64_t file_size;
  char kind[32];
  std::uint32_t table_crc, header_crc;
};
static_assert(sizeof(FileHeader) == 64);

struct TableEntry {
  char name[40];
  std::uint64_t offset, size;
  std::uint32_t crc, zero;
};
static_assert(sizeof(TableEntry) == 64);

constexpr std::size_t aligned(std::size_t n) { return (n + alignment - 1) / alignment * alignment; }

// Slicing by eight (Kounavis and Berry, 2005): one table per byte of a word.
constexpr auto crc_tables = [] {
  std::array<std::array<std::uint32_t, 256>, 8> t{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
    t[0][i] = c;
  }
  for (std::uint32_t i = 0; i < 256; ++i)
    for (int s = 1; s < 8; ++s) t[s][i] = t[s - 1][i] >> 8 ^ t[0][t[s - 1][i] & 0xFF];
  return t;
}();

[[noreturn]] void fail(const std::string& path, const std::string& doing) {
  throw std::system_error(errno, std::generic_category(), "cannot " + doing + " " + path);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

void write_all(int fd, const void* data, std::size_t size, const std::string& path) {
  const char* p = static_cast<const char*>(data);
  while (size) {
    const ssize_t written = ::write(fd, p, std::min<std::size_t>(size, 1u << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "write");
    p += written;
    size -= static_cast<std::size_t>(written);
  }
}

template <std::size_t N>
void put_name(char (&field)[N], const std::string& name) {
  if (name.empty() || name.size() >= N) throw std::invalid_argument("bad section or kind name: '" + name + "'");
  std::memset(field, 0, N);
  std::memcpy(field, name.data(), name.size());
}

template <std::size_t N>
std::string get_name(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

// The system would stop reading at a zero byte and open another file.
void require_path(const std::string& path) {
  if (path.empty() || path.find('\0') != std::string::npos)
    throw std::invalid_argument("path must be non-empty and without zero bytes, got '" + path + "'");
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// Removes the temporary file unless it was renamed.
struct Temporary {
  std::string path;
  ~Temporary() {
    if (!path.empty()) ::unlink(path.c_str());
  }
};

}  // namespace

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t crc) {
  const auto* p = static_cast<const std::uint8_t*>(data);
  const auto& t = crc_tables;
  crc = ~crc;
  for (; size >= 8; p += 8, size -= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= crc;
    crc = t[7][word & 0xFF] ^ t[6][word >> 8 & 0xFF] ^ t[5][word >> 16 & 0xFF] ^ t[4][word >> 24 & 0xFF] ^
          t[3][word >> 32 & 0xFF] ^ t[2][word >> 40 & 0xFF] ^ t[1][word >> 48 & 0xFF] ^ t[0][word >> 56];
  }
  for (; size; ++p, --size) crc = crc >> 8 ^ t[0][(crc ^ *p) & 0xFF];
  return ~crc;
}

void write_sections(const std::string& path, const std::string& kind, const std::vector<Section>& sections) {
  require_path(path);
  FileHeader header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = version;
  header.n_sections = static_cast<std::uint32_t>(sections.size());
  put_name(header.kind, kind);
  std::vector<TableEntry> table(sections.size());
  std::size_t end = sizeof header + table.size() * sizeof(TableEntry);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const std::size_t offset = aligned(end);
    put_name(table[i].name, sections[i].name);
    table[i].offset = offset;
    table[i].size = sections[i].size;
    table[i].crc = crc32c(sections[i].data, sections[i].size);
    end = offset + sections[i].size;
  }
  header.file_size = end;
  header.table_crc = crc32c(table.data(), table.size() * sizeof(TableEntry));
  header.header_crc = crc32c(&header, sizeof header);

  static std::atomic<unsigned> serial{0};
  std::string name;
  int opened;
  do {  // a killed process of the same number may have left its file behind
    name = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(serial++);
    opened = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (opened < 0 && errno == EEXIST);
  if (opened < 0) fail(path, "write");
  const Descriptor fd(opened);
  Temporary temporary{name};
  write_all(fd.get(), &header, sizeof header, path);
  write_all(fd.get(), table.data(), table.size() * sizeof(TableEntry), path);
  std::size_t at = sizeof header + table.size() * sizeof(TableEntry);
  constexpr char zeros[alignment] = {};
  for (std::size_t i = 0; i < sections.size(); ++i) {
    write_all(fd.get(), zeros, table[i].offset - at, path);
    write_all(fd.get(), sections[i].data, sections[i].size, path);
    at = table[i].offset + sections[i].size;
  }
  if (::fsync(fd.get()) != 0) fail(path, "sync");
  if (::rename(name.c_str(), path.c_str()) != 0) fail(path, "replace");
  temporary.path.clear();
  // The rename itself survives a power cut only when the folder is on disk too.
  const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
}

SectionFile::SectionFile(const std::string& path, const std::string& kind, const std::vector<std::string>& trusted)
    : path_(path) {
  require_path(path);
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) fail(path, "open");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail(path, "read");
  const auto damaged = [&](const std::string& what) { throw FormatError(path + ": " + what); };
  if (!S_ISREG(status.st_mode)) damaged("is not a file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size < sizeof(FileHeader)) damaged("is too short for a simskip file (" + std::to_string(size) + " bytes)");
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) fail(path, "map");
  mapping_ = std::shared_ptr<const void>(memory, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  const auto* bytes = static_cast<const char*>(memory);

  FileHeader header;
  std::memcpy(&header, bytes, sizeof header);
  if (std::memcmp(header.magic, magic, sizeof magic) != 0)
    damaged("is not a simskip file (bad magic bytes at offset 0)");
  const std::uint32_t header_crc = std::exchange(header.header_crc, 0);
  if (crc32c(&header, sizeof header) != header_crc) damaged("header is damaged (checksum at offset 60)");
  if (header.version != version)
    damaged("has format version " + std::to_string(header.version) + "; this simskip reads version 1");
  if (header.file_size != size)
    damaged("is cut short or too long: " + std::to_string(size) + " bytes, expected " +
            std::to_string(header.file_size));
  if (const std::string found = get_name(header.kind); found != kind)
    damaged("holds a '" + found + "', expected a '" + kind + "'");
  if (header.n_sections > (size - sizeof header) / sizeof(TableEntry)) damaged("section count is larger than the file");
  std::vector<TableEntry> table(header.n_sections);
  const std::size_t table_size = table.size() * sizeof(TableEntry);
  if (table_size) std::memcpy(table.data(), bytes + sizeof header, table_size);
  if (crc32c(table.data(), table_size) != header.table_crc) damaged("section table is damaged (offset 64)");

  std::size_t end = sizeof header + table_size;
  for (const TableEntry& entry : table) {
    const std::string name = get_name(entry.name);
    if (entry.offset != aligned(end) || entry.offset > size || entry.size > size - entry.offset || entry.zero != 0)
      damaged("section '" + name + "' lies outside the file");
    if (std::any_of(bytes + end, bytes + entry.offset, [](char c) { return c != 0; }))
      damaged("bytes before section '" + name + "' are damaged (offset " + std::to_string(end) + ")");
    const bool skip = std::find(trusted.begin(), trusted.end(), name) != trusted.end();
    if (!skip && crc32c(bytes + entry.offset, entry.size) != entry.crc)
      damaged("section '" + name + "' is damaged (" + std::to_string(entry.size) + " bytes at offset " +
              std::to_string(entry.offset) + ")");
    sections_.push_back({name, bytes + entry.offset, entry.size});
    end = entry.offset + entry.size;
  }
  if (end != size) damaged("has bytes after the last section");
}

const Section& SectionFile::section(const std::string& name) const {
  for (const Section& s : sections_)
    if (s.name == name) return s;
  throw FormatError(path_ + ": section '" + name + "' is missing");
}

}  // namespace simskip
