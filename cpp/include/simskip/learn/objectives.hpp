// Which objectives a hash network can be trained for, to list them without starting anything.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace simskip::learn {

struct ObjectiveInfo {
  std::string name;
  std::string formula;
  std::string source;
  bool needs_labels = false;
  bool needs_neighbors = false;
  std::map<std::string, double> options;  // with their defaults
};

std::vector<ObjectiveInfo> objectives();

}  // namespace simskip::learn
