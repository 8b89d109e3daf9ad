// One loop compiled for several instruction sets, in files that are themselves compiled for the least of them.
//
// The loop is an inline function marked SIMSKIP_LOOP; functions marked SIMSKIP_AVX2 and SIMSKIP_AVX512 do nothing but
// call it, and so hold a copy made for that set. `best_of` picks one, once.
#pragma once

#include <ATen/Version.h>

#include <string>

#define SIMSKIP_LOOP [[gnu::always_inline]] inline

#if defined(__x86_64__)
#define SIMSKIP_AVX2 [[gnu::target("avx2,fma")]]
#if defined(__clang__)
#define SIMSKIP_AVX512 [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,fma"), clang::min_vector_width(512)]]
#else
#define SIMSKIP_AVX512 [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")]]
#endif
#else  // elsewhere the baseline has vectors already
#define SIMSKIP_AVX2
#define SIMSKIP_AVX512
#endif

namespace simskip::learn {

// torch asked the processor and the system what they can do; ATEN_CPU_CAPABILITY forces less.
template <class Function>
Function* best_of(Function* baseline, Function* avx2, Function* avx512) {
  const std::string capability = at::get_cpu_capability();
  if (capability == "AVX512") return avx512;
  return capability == "AVX2" ? avx2 : baseline;
}

}  // namespace simskip::learn
