#include "simskip/learn/objectives.hpp"

#include <stdexcept>

#include "objective.hpp"

namespace simskip::learn {
namespace {

// Unsupervised ones, those of classes, that of pairs, and what makes no codes.
std::vector<const ObjectiveEntry*> entries() {
  return {&neighbors_objective(),  &bihalf_objective(),     &autoencoder_objective(), &csq_objective(),
          &orthohash_objective(),  &hashnet_objective(),    &dpsh_objective(),        &dtsh_objective(),
          &greedyhash_objective(), &classifier_objective(), &deepranking_objective(), &distilled_objective(),
          &pairs_objective(),      &softmax_objective()};
}

}  // namespace

std::vector<ObjectiveInfo> objectives() {
  std::vector<ObjectiveInfo> all;
  for (const ObjectiveEntry* entry : entries()) all.push_back(entry->info);
  return all;
}

const ObjectiveEntry& find_objective(const std::string& name) {
  std::string names;
  for (const ObjectiveEntry* entry : entries()) {
    if (entry->info.name == name) return *entry;
    names += (names.empty() ? "" : ", ") + entry->info.name;
  }
  throw std::invalid_argument("objective must be one of " + names + "; got " + name);
}

std::unique_ptr<Objective> make_objective(const std::string& name, const Options& options,
                                          const ObjectiveContext& context) {
  const ObjectiveEntry& entry = find_objective(name);
  Options all = entry.info.options;
  for (const auto& [option, value] : options) {
    const auto found = all.find(option);
    if (found == all.end()) {
      std::string names;
      for (const auto& [known, unused] : entry.info.options) names += (names.empty() ? "" : ", ") + known;
      throw std::invalid_argument("options of " + name + " are " + names + "; got " + option);
    }
    found->second = value;
  }
  return entry.make(all, context);
}

}  // namespace simskip::learn
