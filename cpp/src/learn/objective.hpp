// What an objective is to the trainer: a loss of a batch's outputs, and its gradient written out.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "optimizer.hpp"
#include "simskip/learn/objectives.hpp"

namespace simskip::learn {

using Options = std::map<std::string, double>;

struct Batch {
  at::Tensor inputs;      // (B, d) without noise
  at::Tensor bias;        // (B), added to a row's similarity as a neighbour; undefined: 0
  at::Tensor labels;      // (B) int64; undefined without labels
  double progress = 0.0;  // share of the training that is done
};

struct Evaluation {
  at::Tensor gradient;  // dL/du, (B, n_bits), valid until the next call
  double loss = 0.0;    // what the gradient belongs to
  std::map<std::string, double> parts;
};

class Objective {
 public:
  virtual ~Objective() = default;
  // u: (B, n_bits), the network's outputs after its output activation.
  virtual Evaluation evaluate(const at::Tensor& u, const Batch& batch) = 0;
  // What the objective learns itself; the gradients are set by evaluate().
  virtual std::vector<Parameter> parameters() { return {}; }
};

struct ObjectiveContext {
  std::int64_t n_bits = 0;
  std::int64_t n_classes = 0;
  double learning_rate = 0.0;  // of the network
  std::uint64_t seed = 0;
};

// One entry per objective: what it is, and how it is made. `options` holds every option.
struct ObjectiveEntry {
  ObjectiveInfo info;
  std::unique_ptr<Objective> (*make)(const Options& options, const ObjectiveContext& context);
};

const ObjectiveEntry& neighbors_objective();
const ObjectiveEntry& csq_objective();
const ObjectiveEntry& dtsh_objective();

// By name. Throws std::invalid_argument for an unknown name.
const ObjectiveEntry& find_objective(const std::string& name);
// Throws std::invalid_argument also for an unknown option.
std::unique_ptr<Objective> make_objective(const std::string& name, const Options& options,
                                          const ObjectiveContext& context);

}  // namespace simskip::learn
