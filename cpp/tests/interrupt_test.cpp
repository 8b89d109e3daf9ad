#include "simskip/interrupt.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "parallel.hpp"

namespace simskip {
namespace {

TEST(Interrupt, NeverAsksWithoutAPoll) {
  Interrupt interrupt;
  EXPECT_FALSE(interrupt.check());
  EXPECT_NO_THROW(interrupt.throw_if_requested());
}

TEST(Interrupt, StaysRequested) {
  int asked = 0;
  Interrupt interrupt([&] { return ++asked == 2; });
  while (!interrupt.check()) std::this_thread::yield();
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE(interrupt.requested());
  EXPECT_THROW(interrupt.throw_if_requested(), Interrupted);
}

TEST(ParallelFor, CallsEachOnce) {
  for (const int threads : {1, 2, 3, 64})
    for (const std::size_t n : {0, 1, 2, 5, 1000}) {
      std::vector<std::atomic<int>> calls(n);
      parallel_for(n, threads, nullptr, [&](std::size_t i) { calls[i].fetch_add(1); });
      for (const auto& c : calls) ASSERT_EQ(c.load(), 1);
    }
}

TEST(ParallelFor, RethrowsAfterAllThreadsStopped) {
  for (const int threads : {1, 3}) {
    std::atomic<int> running{0};
    const auto work = [&](std::size_t i) {
      running.fetch_add(1);
      const bool broken = i == 10;
      running.fetch_sub(1);
      if (broken) throw std::runtime_error("row 10");
    };
    try {
      parallel_for(1000, threads, nullptr, work);
      FAIL();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "row 10");
    }
    EXPECT_EQ(running.load(), 0);
  }
}

TEST(ParallelFor, OnlyTheCallingThreadPolls) {
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> other{false};
  std::atomic<int> polls{0};
  Interrupt interrupt([&] {
    if (std::this_thread::get_id() != caller) other = true;
    return ++polls == 3;
  });
  const auto pause = [](std::size_t) { std::this_thread::sleep_for(std::chrono::microseconds(1)); };
  EXPECT_THROW(parallel_for(1 << 20, 3, &interrupt, pause), Interrupted);
  EXPECT_FALSE(other.load());
}

TEST(ParallelFor, TheCallerPollsWhileOthersWork) {
  // One long call in another thread ends only when the poll was asked again after the caller ran out of work.
  std::atomic<int> polls{0};
  Interrupt interrupt([&] { return ++polls >= 2; });
  std::atomic<bool> helper_has_it{false};
  const auto work = [&](std::size_t) {
    if (on_calling_thread()) {
      while (!helper_has_it.load()) std::this_thread::yield();
    } else {
      helper_has_it = true;
      while (!interrupt.requested()) std::this_thread::yield();
    }
  };
  EXPECT_THROW(parallel_for(2, 2, &interrupt, work), Interrupted);
}

}  // namespace
}  // namespace simskip
