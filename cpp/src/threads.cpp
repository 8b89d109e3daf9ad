#include "simskip/threads.hpp"

#include <omp.h>

#include <algorithm>
#include <atomic>

namespace simskip {
namespace {
// 0: not set. omp_set_num_threads is per calling thread, so it cannot hold a process-wide choice.
std::atomic<int> chosen{0};
}  // namespace

int default_threads() {
  const int n = chosen.load(std::memory_order_relaxed);
  return n > 0 ? n : std::max(1, std::min(omp_get_max_threads(), omp_get_num_procs()));
}

void set_default_threads(int n) { chosen.store(std::clamp(n, 0, max_threads), std::memory_order_relaxed); }

int resolve_threads(int n) { return n >= 1 ? std::min(n, max_threads) : default_threads(); }

}  // namespace simskip
