// Which objectives a hash network can be trained for, to list them without starting anything.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace simskip::learn {

// What an objective learns from, beside the rows.
enum class Supervision {
  none,
  neighbors,  // which rows are near each other
  labels,     // one class per row
  targets,    // one class per row, or a weight in [0, 1] for each class (several classes at once)
};

// How the rows of a batch are drawn.
enum class Batches {
  pass,       // passes over all rows in random order
  neighbors,  // anchors with some of their neighbours, and rows drawn uniformly
  classes,    // the same number of rows of each of several classes (`pass` where rows have several classes)
};

struct ObjectiveInfo {
  std::string name;
  std::string formula;
  std::string source;
  Supervision supervision = Supervision::none;
  Batches batches = Batches::pass;
  std::int64_t towers = 1;                // networks it trains
  std::map<std::string, double> options;  // with their defaults
};

std::vector<ObjectiveInfo> objectives();

}  // namespace simskip::learn
