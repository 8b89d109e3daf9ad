// How a long native call learns that the user wants it to stop (Ctrl-C).
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>

namespace simskip {

// Thrown by native calls that stopped because they were asked to; what they worked on is as before the call.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

class Interrupt {
 public:
  using Poll = std::function<bool()>;  // true: stop. Called in the thread that made the call.

  Interrupt() = default;
  explicit Interrupt(Poll poll) : poll_(std::move(poll)) {}

  // Asks `poll` if the last time is 20 ms ago. Only for the thread that made the native call: it may need to take
  // Python's lock. Cheap enough for every few microseconds of work.
  bool check() {
    if (!poll_) return false;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ >= std::chrono::milliseconds(20)) {
      last_ = now;
      if (poll_()) requested_.store(true, std::memory_order_relaxed);
    }
    return requested();
  }

  // What check() found; for the other threads of the team.
  bool requested() const { return requested_.load(std::memory_order_relaxed); }

  void throw_if_requested() const {
    if (requested()) throw Interrupted();
  }

 private:
  Poll poll_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::atomic<bool> requested_{false};
};

}  // namespace simskip
