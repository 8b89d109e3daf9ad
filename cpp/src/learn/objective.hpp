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
  std::vector<std::int32_t> rows;  // row numbers of the training set
  at::Tensor inputs;               // (B, d) of the first tower, without noise
  at::Tensor bias;                 // (B), added to a row's similarity as a neighbour; undefined: 0
  at::Tensor labels;               // (B) int64; undefined without one class per row
  at::Tensor targets;              // (B, n_classes) in [0, 1]; undefined unless given
  double progress = 0.0;           // share of the training that is done
  at::Tensor second_inputs;        // (B, d2) of the second tower, without noise; undefined if there is none
};

struct Evaluation {
  at::Tensor gradient;  // dL/du, of u's shape, valid until the next call
  double loss = 0.0;    // what the gradient belongs to
  std::map<std::string, double> parts;
};

class Objective {
 public:
  virtual ~Objective() = default;
  // u: (B, n_bits), the network's outputs after its output activation; with two towers (2 B, n_bits), the rows of
  // the first above those of the second. Contiguous.
  virtual Evaluation evaluate(const at::Tensor& u, const Batch& batch) = 0;
  // What the objective learns itself; the gradients are set by evaluate(). Their addresses do not change.
  virtual std::vector<Parameter> parameters() { return {}; }
  // (n_classes, n_bits) of +-1: the code that each class is drawn to. Undefined if there is none.
  virtual at::Tensor centres() const { return {}; }
};

struct ObjectiveContext {
  std::int64_t n_bits = 0;     // columns of u
  std::int64_t code_bits = 0;  // of the whole code; more than n_bits if u is a prefix of it
  std::int64_t n_inputs = 0;   // columns of Batch::inputs
  std::int64_t n_classes = 0;
  double learning_rate = 0.0;  // of the network
  std::uint64_t seed = 0;
  bool tanh_output = true;  // u is tanh of the network's last layer
};

// One entry per objective: what it is, and how it is made. `options` holds every option.
struct ObjectiveEntry {
  ObjectiveInfo info;
  std::unique_ptr<Objective> (*make)(const Options& options, const ObjectiveContext& context);
};

const ObjectiveEntry& autoencoder_objective();
const ObjectiveEntry& bihalf_objective();
const ObjectiveEntry& classifier_objective();
const ObjectiveEntry& csq_objective();
const ObjectiveEntry& deepranking_objective();
const ObjectiveEntry& distilled_objective();
const ObjectiveEntry& dpsh_objective();
const ObjectiveEntry& dtsh_objective();
const ObjectiveEntry& greedyhash_objective();
const ObjectiveEntry& hashnet_objective();
const ObjectiveEntry& neighbors_objective();
const ObjectiveEntry& orthohash_objective();
const ObjectiveEntry& pairs_objective();
const ObjectiveEntry& softmax_objective();

// By name. Throws std::invalid_argument for an unknown name.
const ObjectiveEntry& find_objective(const std::string& name);
// Throws std::invalid_argument also for an unknown option.
std::unique_ptr<Objective> make_objective(const std::string& name, const Options& options,
                                          const ObjectiveContext& context);

}  // namespace simskip::learn
