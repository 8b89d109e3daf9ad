// The one way the core starts threads.
#pragma once

#include <omp.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <thread>

#include "simskip/interrupt.hpp"

namespace simskip {

// Whether this is the thread that made the native call: only it may poll an Interrupt.
inline bool on_calling_thread() { return omp_get_thread_num() == 0; }

// Calls work(0) ... work(n - 1), each once, in the threads of one team, in any order. The calling thread keeps
// polling `interrupt` (which may be null) until the last call is done, also when there is nothing left for it to do.
// Rethrows the first exception of `work` after all threads stopped; throws Interrupted. Nothing unwinds through OpenMP.
template <class Work>
void parallel_for(std::size_t n, int threads, Interrupt* interrupt, Work&& work) {
  std::exception_ptr error;
  std::atomic<bool> failed{false};
  std::atomic<std::size_t> next{0}, done{0};
  if (n == 0) return;
  if (static_cast<std::size_t>(threads) > n) threads = static_cast<int>(n);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const bool asks = interrupt && on_calling_thread();
    for (std::size_t i; (i = next.fetch_add(1)) < n; done.fetch_add(1)) {
      if (failed.load(std::memory_order_relaxed)) continue;
      if (asks ? interrupt->check() : interrupt && interrupt->requested()) continue;
      try {
        work(i);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
    for (int rounds = 0; asks && done.load() < n; ++rounds) {
      interrupt->check();
      // The others are often done within microseconds, less than it takes to fall asleep and wake up.
      if (rounds < 1000)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  if (error) std::rethrow_exception(error);
  if (interrupt) interrupt->throw_if_requested();
}

}  // namespace simskip
