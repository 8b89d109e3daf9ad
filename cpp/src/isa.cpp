#include "simskip/isa.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "kernels/kernels.hpp"

namespace simskip {
namespace {

const kernels::Kernels* find(const std::string& name) {
  for (const kernels::Candidate& candidate : kernels::compiled())
    if (name == candidate.kernels->isa && candidate.runs_here()) return candidate.kernels;
  return nullptr;
}

std::string names(const std::vector<std::string>& isas) {
  std::string text;
  for (const std::string& isa : isas) text += (text.empty() ? "" : ", ") + isa;
  return text;
}

const kernels::Kernels* choose() {
  if (const char* wish = std::getenv("SIMSKIP_ISA"); wish && *wish) {
    if (const kernels::Kernels* k = find(wish)) return k;
    throw std::invalid_argument("SIMSKIP_ISA=" + std::string(wish) + " cannot be used: this machine and build run " +
                                names(available_isas()));
  }
  return find(available_isas().front());
}

std::atomic<const kernels::Kernels*> active{nullptr};

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> isas;
  for (const kernels::Candidate& candidate : kernels::compiled())
    if (candidate.runs_here()) isas.emplace_back(candidate.kernels->isa);
  return isas;
}

namespace kernels {

const Kernels& in_use() {
  const Kernels* k = active.load(std::memory_order_acquire);
  if (!k) {
    k = choose();  // the same answer in every thread, so a race is harmless
    const Kernels* none = nullptr;
    if (!active.compare_exchange_strong(none, k)) k = none;
  }
  return *k;
}

}  // namespace kernels

std::string active_isa() { return kernels::in_use().isa; }

void force_isa(const std::string& name) {
  const kernels::Kernels* k = find(name);
  if (!k) throw std::invalid_argument("no kernel named '" + name + "' runs here; there are " + names(available_isas()));
  active.store(k, std::memory_order_release);
}

}  // namespace simskip
