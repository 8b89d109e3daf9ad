// How many threads native work uses. One number per process, overridable per call.
#pragma once

namespace simskip {

// OpenMP ends the process when the system refuses a thread, so that no call may ask for any number.
inline constexpr int max_threads = 1024;

// The process-wide default: what OpenMP would use (OMP_NUM_THREADS, CPU affinity) until set.
int default_threads();
// n < 1 restores the initial default, more than max_threads means that many. Thread-safe.
void set_default_threads(int n);
// A call's own wish (n >= 1, at most max_threads), or the default for n < 1.
int resolve_threads(int n);

}  // namespace simskip
