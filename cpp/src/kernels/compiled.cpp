// The table of kernels, and which processors run them. Compiled without -m flags.
#include "kernels.hpp"

namespace simskip::kernels {

#if defined(__x86_64__)
extern const Kernels avx512vpopcntdq;
extern const Kernels avx512bw;
extern const Kernels avx2;
#elif defined(__aarch64__)
extern const Kernels neon;
#endif
extern const Kernels baseline;

namespace {

// __builtin_cpu_supports asks CPUID and, for the wide registers, whether the operating system saves them.
const Candidate table[] = {
#if defined(__x86_64__)
    {&avx512vpopcntdq,
     [] {
       return __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("bmi2");
     }},
    {&avx512bw,
     [] {
       return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2");
     }},
    {&avx2,
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"); }},
#elif defined(__aarch64__)
    {&neon, [] { return true; }},  // part of the architecture
#endif
    {&baseline, [] { return true; }},
};

}  // namespace

Candidates compiled() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  return {table, table + sizeof table / sizeof *table};
}

}  // namespace simskip::kernels
