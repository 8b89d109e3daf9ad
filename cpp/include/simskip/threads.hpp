// How many threads native work uses. One number per process, overridable per call.
#pragma once

namespace simskip {

// The process-wide default: what OpenMP would use (OMP_NUM_THREADS, CPU affinity) until set.
int default_threads();
// n < 1 restores the initial default. Thread-safe.
void set_default_threads(int n);
// A call's own wish (n >= 1), or the default for n < 1.
int resolve_threads(int n);

}  // namespace simskip
