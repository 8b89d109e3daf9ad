// The table of kernels, and which processors run them. Compiled without -m flags.
#include "kernels.hpp"

namespace simskip::kernels {

void scan_baseline(const Scan&, const std::uint64_t* const*, Hits* const*, std::uint32_t);

namespace {
const Kernels baseline{"baseline", [] { return true; }, scan_baseline};
const Kernels* const table[] = {&baseline};
}  // namespace

Compiled compiled() { return {table, table + sizeof table / sizeof *table}; }

}  // namespace simskip::kernels
