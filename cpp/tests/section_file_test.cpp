#include "simskip/section_file.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <system_error>

namespace simskip {
namespace {

namespace fs = std::filesystem;

class SectionFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "simskip-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name = "a.bin") const { return (folder_ / name).string(); }

  static std::string content(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void put(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  // Three sections, one empty, none a multiple of 64 bytes long: gaps between them.
  void write_small(const std::string& path) const {
    write_sections(path, "test", {{"one", "hello", 5}, {"none", nullptr, 0}, {"two", "0123456789", 10}});
  }
  static std::string error(const std::function<void()>& call) {
    try {
      call();
    } catch (const FormatError& e) {
      return e.what();
    }
    return "";
  }

  fs::path folder_;
};

TEST(Crc32c, KnownValues) {
  // RFC 3720, B.4.
  EXPECT_EQ(crc32c("123456789", 9), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0').data(), 32), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF').data(), 32), 0x62A8AB43u);
  EXPECT_EQ(crc32c(nullptr, 0), 0u);
}

TEST(Crc32c, ContinuesAtAnyPlace) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += static_cast<char>(i * 37);
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(crc32c(text.data() + cut, text.size() - cut, crc32c(text.data(), cut)), crc32c(text.data(), text.size()));
}

TEST_F(SectionFiles, ReadsWhatWasWritten) {
  write_small(path());
  const SectionFile file(path(), "test");
  ASSERT_EQ(file.sections().size(), 3u);
  EXPECT_EQ(file.read<char>("one"), std::vector<char>({'h', 'e', 'l', 'l', 'o'}));
  EXPECT_TRUE(file.read<double>("none").empty());
  EXPECT_EQ(std::string(file.share<char>("two").get(), file.section("two").size), "0123456789");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.section("two").data) % 64, 0u);
  EXPECT_EQ(files(), 1u) << "temporary files are left";
  EXPECT_NE(error([&] { file.section("three"); }).find("'three' is missing"), std::string::npos);
  EXPECT_NE(error([&] { file.read<std::int32_t>("one"); }).find("broken size"), std::string::npos);
}

TEST_F(SectionFiles, LayoutIsFormatV1) {
  write_small(path());
  const std::string bytes = content(path());
  EXPECT_EQ(bytes.substr(0, 8), "simskip\n");
  std::uint32_t version, count;
  std::uint64_t size;
  std::memcpy(&version, &bytes[8], 4);
  std::memcpy(&count, &bytes[12], 4);
  std::memcpy(&size, &bytes[16], 8);
  EXPECT_EQ(version, 1u);
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(size, bytes.size());
  EXPECT_EQ(bytes.substr(24, 5), std::string("test\0", 5));
  EXPECT_EQ(bytes.substr(256, 5), "hello");
  EXPECT_EQ(bytes.substr(320), "0123456789");
}

TEST_F(SectionFiles, PointersOutliveTheFileObjectAndItsName) {
  std::shared_ptr<const char> text;
  {
    write_small(path());
    text = SectionFile(path(), "test").share<char>("one");
    fs::remove(path());
  }
  EXPECT_EQ(std::string(text.get(), 5), "hello");
}

TEST_F(SectionFiles, EveryFlippedBitIsFound) {
  write_small(path());
  const std::string good = content(path());
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const int mask : {1, 0x80, 0xFF}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ mask);
      put(path("bad.bin"), bad);
      const std::string what = error([&] { SectionFile(path("bad.bin"), "test"); });
      ASSERT_NE(what, "") << "byte " << at << " mask " << mask;
      ASSERT_EQ(what.find(path("bad.bin")), 0u) << what;
    }
}

TEST_F(SectionFiles, EveryLengthButTheRightOneIsFound) {
  write_small(path());
  const std::string good = content(path());
  for (std::size_t size = 0; size < good.size(); ++size) {
    put(path("short.bin"), good.substr(0, size));
    ASSERT_THROW(SectionFile(path("short.bin"), "test"), FormatError) << size;
  }
  for (const std::size_t more : {1, 63, 64, 4096}) {
    put(path("long.bin"), good + std::string(more, '\0'));
    EXPECT_THROW(SectionFile(path("long.bin"), "test"), FormatError) << more;
  }
}

// Patches fields and makes all checksums right again: what a hostile writer would do.
class Forged : public SectionFiles {
 protected:
  template <class T>
  static void set(std::string& bytes, std::size_t at, T value) {
    std::memcpy(&bytes[at], &value, sizeof value);
  }
  static void seal(std::string& bytes) {
    std::uint32_t count;
    std::memcpy(&count, &bytes[12], 4);
    if (64 + std::uint64_t{count} * 64 <= bytes.size()) set(bytes, 56, crc32c(&bytes[64], std::size_t{count} * 64));
    set(bytes, 60, std::uint32_t{0});
    set(bytes, 60, crc32c(bytes.data(), 64));
  }
  std::string error_of(std::string bytes) {
    seal(bytes);
    put(path("forged.bin"), bytes);
    return error([&] { SectionFile(path("forged.bin"), "test"); });
  }
};

TEST_F(Forged, HugeCountsAndSizesAreRefused) {
  write_small(path());
  const std::string good = content(path());
  EXPECT_EQ(error_of(good), "");
  for (const std::uint32_t count : {4u, 6u, 1000u, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    std::string bad = good;
    set(bad, 12, count);
    EXPECT_NE(error_of(bad), "") << "count " << count;
  }
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{255}, std::uint64_t{257}, std::uint64_t{1} << 40,
        std::uint64_t{1} << 63, ~std::uint64_t{0}, ~std::uint64_t{0} - 63}) {
    for (int section = 0; section < 3; ++section) {
      const std::size_t entry = 64 + static_cast<std::size_t>(section) * 64;
      std::string bad = good;
      set(bad, entry + 40, value);
      EXPECT_NE(error_of(bad), "") << "offset " << value << " of section " << section;
      bad = good;
      set(bad, entry + 48, value);
      if (bad != good) {
        EXPECT_NE(error_of(bad), "") << "size " << value << " of section " << section;
      }
    }
    std::string bad = good;
    set(bad, 16, value);
    EXPECT_NE(error_of(bad), "") << "file size " << value;
  }
}

TEST_F(Forged, OtherVersionsKindsAndReservedFieldsAreRefused) {
  write_small(path());
  std::string bad = content(path());
  set(bad, 8, std::uint32_t{2});
  EXPECT_NE(error_of(bad).find("format version 2"), std::string::npos);
  bad = content(path());
  set(bad, 64 + 60, std::uint32_t{1});
  EXPECT_NE(error_of(bad), "");
  EXPECT_NE(error([&] { SectionFile(path(), "other"); }).find("holds a 'test', expected a 'other'"), std::string::npos);
}

TEST_F(Forged, NamesWithoutAnEndStayInsideTheirFields) {
  write_small(path());
  std::string bytes = content(path());
  std::memset(&bytes[64], 'x', 40);
  EXPECT_EQ(error_of(bytes), "");
  EXPECT_EQ(SectionFile(path("forged.bin"), "test").sections()[0].name, std::string(40, 'x'));
  std::memset(&bytes[24], 'k', 32);
  EXPECT_NE(error_of(bytes).find("'" + std::string(32, 'k') + "'"), std::string::npos);
}

TEST_F(SectionFiles, TrustedSectionsAreNotRead) {
  write_small(path());
  std::string bytes = content(path());
  bytes[256] = 'j';
  put(path(), bytes);
  EXPECT_THROW(SectionFile(path(), "test"), FormatError);
  EXPECT_EQ(SectionFile(path(), "test", {"one"}).read<char>("one")[0], 'j');
  EXPECT_THROW(SectionFile(path(), "test", {"two"}), FormatError);
}

TEST_F(SectionFiles, MissingFileAndFolder) {
  try {
    SectionFile(path("none.bin"), "test");
    FAIL();
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code().value(), ENOENT);
    EXPECT_NE(std::string(e.what()).find("none.bin"), std::string::npos);
  }
  EXPECT_THROW(SectionFile(folder_.string(), "test"), FormatError);
}

TEST_F(SectionFiles, BadNamesAndPathsThrowBeforeWriting) {
  const std::string too_long(40, 'x');
  EXPECT_THROW(write_sections(path(), "test", {{too_long, "", 0}}), std::invalid_argument);
  EXPECT_THROW(write_sections(path(), "test", {{"", "", 0}}), std::invalid_argument);
  EXPECT_THROW(write_sections(path(), std::string(32, 'k'), {}), std::invalid_argument);
  EXPECT_THROW(write_sections(path() + std::string("\0.bin", 5), "test", {}), std::invalid_argument);
  EXPECT_THROW(write_sections("", "test", {}), std::invalid_argument);
  EXPECT_THROW(SectionFile(path() + std::string("\0", 1), "test"), std::invalid_argument);
  EXPECT_EQ(files(), 0u);
}

TEST_F(SectionFiles, FailedWritesLeaveTheOldFile) {
  write_small(path());
  const std::string good = content(path());
  fs::create_directory(path("folder"));
  put(path("folder/inside"), "x");
  EXPECT_THROW(write_sections(path("folder"), "test", {}), std::system_error) << "the target is a folder";
  EXPECT_THROW(write_sections(path("missing/a.bin"), "test", {}), std::system_error);
  EXPECT_THROW(write_sections(path() + "/b.bin", "test", {}), std::system_error) << "a file is no folder";
  EXPECT_EQ(content(path()), good);
  EXPECT_EQ(files(), 2u);
  EXPECT_EQ(content(path("folder/inside")), "x");
  if (::geteuid() != 0) {  // root may write anywhere
    fs::permissions(folder_, fs::perms::owner_read | fs::perms::owner_exec);
    EXPECT_THROW(write_sections(path(), "test", {}), std::system_error);
    fs::permissions(folder_, fs::perms::owner_all);
    EXPECT_EQ(content(path()), good);
  }
}

TEST_F(SectionFiles, AWriteThatFailsHalfwayLeavesTheOldFile) {
  write_small(path());
  const std::string good = content(path());
  const std::string big(100000, 'x');
  const std::vector<Section> sections = {{"big", big.data(), big.size()}};
  EXPECT_EXIT(
      {
        // A file size limit makes write() fail with EFBIG in the middle of a section.
        ::signal(SIGXFSZ, SIG_IGN);
        rlimit limit;
        limit.rlim_cur = limit.rlim_max = 50000;
        ::setrlimit(RLIMIT_FSIZE, &limit);
        try {
          write_sections(path(), "test", sections);
        } catch (const std::system_error& e) {
          std::_Exit(e.code().value() == EFBIG ? 0 : 2);
        }
        std::_Exit(1);
      },
      ::testing::ExitedWithCode(0), "");
  EXPECT_EQ(content(path()), good);
  EXPECT_EQ(files(), 1u);
}

TEST_F(SectionFiles, LeftoversOfKilledWritersAreNoHindrance) {
  for (int serial = 0; serial < 50; ++serial)
    put(path() + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(serial), "left");
  write_small(path());
  EXPECT_EQ(error([&] { SectionFile(path(), "test"); }), "");
}

TEST_F(SectionFiles, AMappedFileCanBeReplaced) {
  write_small(path());
  const SectionFile old(path(), "test");
  write_sections(path(), "test", {{"one", "other", 5}});
  EXPECT_EQ(old.read<char>("one")[0], 'h');
  EXPECT_EQ(SectionFile(path(), "test").read<char>("one")[0], 'o');
}

TEST_F(SectionFiles, RelativePathsAndNoSections) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  write_sections("plain.bin", "test", {});
  EXPECT_TRUE(SectionFile("plain.bin", "test").sections().empty());
  fs::current_path(before);
}

}  // namespace
}  // namespace simskip
