#include "simskip/threads.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace simskip {
namespace {

TEST(Threads, DefaultCanBeSetAndRestored) {
  const int initial = default_threads();
  EXPECT_GE(initial, 1);
  set_default_threads(3);
  EXPECT_EQ(default_threads(), 3);
  EXPECT_EQ(resolve_threads(0), 3);
  EXPECT_EQ(resolve_threads(-5), 3);
  EXPECT_EQ(resolve_threads(2), 2);
  set_default_threads(0);
  EXPECT_EQ(default_threads(), initial);
  set_default_threads(-1);
  EXPECT_EQ(default_threads(), initial);
}

TEST(Threads, TheDefaultHoldsInEveryThread) {
  set_default_threads(3);
  int seen = 0;
  std::thread([&] { seen = default_threads(); }).join();
  EXPECT_EQ(seen, 3);
  set_default_threads(0);
}

TEST(Threads, NobodyGetsMoreThanTheSystemBears) {
  EXPECT_EQ(resolve_threads(1 << 30), max_threads);
  set_default_threads(1 << 30);
  EXPECT_EQ(default_threads(), max_threads);
  set_default_threads(0);
}

}  // namespace
}  // namespace simskip
