#include "simskip/isa.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "oracle.hpp"

namespace simskip::testing {
namespace {

TEST(Isa, BestFirstBaselineLastNoneTwice) {
  const std::vector<std::string> order = {"avx512vpopcntdq", "avx512bw", "avx2", "neon", "baseline"};
  const auto isas = available_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.back(), "baseline");
  std::vector<std::ptrdiff_t> places;
  for (const auto& isa : isas) {
    const auto found = std::find(order.begin(), order.end(), isa);
    ASSERT_NE(found, order.end()) << isa;
    places.push_back(found - order.begin());
  }
  EXPECT_TRUE(std::adjacent_find(places.begin(), places.end(), std::greater_equal<>()) == places.end());
}

TEST(Isa, EachAvailableOneCanBeForced) {
  const IsaGuard guard;
  for (const auto& isa : available_isas()) {
    force_isa(isa);
    EXPECT_EQ(active_isa(), isa);
  }
}

TEST(Isa, UnknownNameThrowsAndChangesNothing) {
  const std::string before = active_isa();
  try {
    force_isa("avx1024");
    FAIL();
  } catch (const std::invalid_argument& e) {
    EXPECT_NE(std::string(e.what()).find("avx1024"), std::string::npos);
    EXPECT_NE(std::string(e.what()).find("baseline"), std::string::npos);
  }
  EXPECT_THROW(force_isa(""), std::invalid_argument);
  EXPECT_EQ(active_isa(), before);
}

// ctest runs each test in a process of its own: here nothing has asked for the instruction set yet.
TEST(IsaDeathTest, EnvironmentForcesOneOrThrows) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("SIMSKIP_ISA", "baseline", 1);
        std::exit(active_isa() == "baseline" ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        setenv("SIMSKIP_ISA", "mmx", 1);
        try {
          active_isa();
        } catch (const std::invalid_argument& e) {
          std::exit(std::string(e.what()).find("SIMSKIP_ISA=mmx") == 0 ? 0 : 2);
        }
        std::exit(1);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace simskip::testing
