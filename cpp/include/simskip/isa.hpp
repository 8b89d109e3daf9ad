// Which instruction sets have kernels here, which of them this machine runs, and which one is used.
//
// The CPU is asked once per process, including whether the operating system saves the wide registers.
// Names are the same everywhere (file, table, SIMSKIP_ISA, tests, benchmarks), best first:
// avx512vpopcntdq, avx512bw, avx2, neon, baseline.
#pragma once

#include <string>
#include <vector>

namespace simskip {

// Instruction sets that were compiled in and that this machine runs, best first; never empty.
std::vector<std::string> available_isas();

// The one in use: the best available, or what the environment variable SIMSKIP_ISA names.
// Throws std::invalid_argument if SIMSKIP_ISA names none that can run. Resolved at the first call.
std::string active_isa();

// Switches to another available one (tests and benchmarks). Throws std::invalid_argument otherwise.
// Searches that are running finish with the kernel they began with.
void force_isa(const std::string& name);

}  // namespace simskip
