// Training of hash networks: from float rows in the caller's memory to DenseNetworks.
//
// The same settings, data, seed and thread count give bit-identical weights on the same machine, also when a
// training is continued from one of its checkpoints. torch's random state is neither read nor changed; its thread
// count is set for the call and restored.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "simskip/learn/dense_network.hpp"
#include "simskip/learn/settings.hpp"

namespace simskip::learn {

// What one network reads. All pointers are views of the caller's arrays and must live until train() returns; rows
// are copied batch by batch, so `inputs` may be a mapped file larger than memory.
struct Tower {
  const void* inputs = nullptr;  // (n, d) row-major: float, or IEEE half if `half`
  bool half = false;
  std::int64_t n = 0;
  std::int64_t d = 0;
  const float* row_scale = nullptr;        // (n), each row is multiplied by its entry when it is read; null: 1
  const float* centre = nullptr;           // (d), subtracted from the input of the layers; null: 0
  const float* gain = nullptr;             // (d), then multiplied; null: 1
  const float* noise = nullptr;            // (d), standard deviation of the noise added to the input; null: none
  const float* residual_weight = nullptr;  // (n_bits, d): start of the residual path, or null for none
  const float* residual_bias = nullptr;    // (n_bits)
  // Continue from these weights instead of random ones; centre, gain and batch-norm are folded into them already.
  const DenseNetwork* start = nullptr;
};

// Row numbers index the towers' inputs: row i of every tower is the same item.
struct TrainingSet {
  std::vector<Tower> towers;           // one; for the objectives of pairs two
  const float* row_bias = nullptr;     // (n), added to a row's similarity as a neighbour; null: 0
  const std::int32_t* rows = nullptr;  // training rows
  std::int64_t n_rows = 0;
  const std::int32_t* labels = nullptr;  // (n), classes 0 .. n_classes-1, or null
  const float* targets = nullptr;        // (n, n_classes): weights of the classes in [0, 1], or null
  std::int64_t n_classes = 0;
  const std::int32_t* anchors = nullptr;    // training rows whose neighbours are known, or null
  const std::int32_t* neighbors = nullptr;  // (n_anchors, m): training rows, nearest first
  std::int64_t n_anchors = 0;
  std::int64_t m = 0;
  const std::int32_t* evaluation_rows = nullptr;  // projected after every epoch; none if n_evaluation is 0
  std::int64_t n_evaluation = 0;
};

struct EpochReport {
  std::int64_t epoch = 0;  // from 1
  std::int64_t step = 0;   // steps done so far
  double learning_rate = 0.0;
  std::map<std::string, double> losses;  // means over the epoch: "loss" and its parts
  double seconds = 0.0;                  // since the start of training
};

struct EpochDecision {
  std::optional<double> metric;  // higher is better; without one, the latest weights are kept
  bool stop = false;
  bool interrupted = false;  // stop as if Interrupted had said so before this epoch ended
};

// Everything that a training holds at the end of an epoch: enough to go on as if it had never stopped. The tensors
// are flat and in an order that only train() knows; they fit the settings and data they came from.
struct Checkpoint {
  std::int64_t epoch = 0;
  std::int64_t best_epoch = 0;
  std::optional<double> best;  // the metric of best_epoch
  std::vector<std::vector<float>> tensors;
};

struct Outcome {
  std::vector<DenseNetwork> networks;       // one per tower, of the best epoch; empty if none ended
  std::vector<std::vector<float>> centres;  // n_classes codes of +-1, where the objective gives each class one
  std::int64_t best_epoch = 0;              // 0: none ended
  std::int64_t epochs_done = 0;
  bool interrupted = false;
  bool stopped_early = false;
};

// `outputs` is (n_towers, n_evaluation, n_bits): the networks' outputs for the evaluation rows, valid during the call.
using OnEpoch = std::function<EpochDecision(const EpochReport& report, const float* outputs)>;
// Asked between steps, at most every 50 ms; true ends the training.
using Interrupted = std::function<bool()>;
// Called after every epoch's OnEpoch.
using OnCheckpoint = std::function<void(const Checkpoint& checkpoint)>;
// A loss written by the user, for the objective "custom": from u, the (n, width) outputs of the rows (the first `width`
// bits, where prefixes are trained too), fills `gradient` of the same shape and returns the loss.
using CustomLoss = std::function<double(const float* u, const std::int32_t* rows, std::int64_t n, std::int64_t width,
                                        double progress, float* gradient)>;

struct Hooks {
  OnEpoch on_epoch;
  Interrupted interrupted;     // may be empty
  OnCheckpoint on_checkpoint;  // may be empty
  CustomLoss custom_loss;      // for the objective "custom"
};

// Throws std::invalid_argument for settings, data and a checkpoint that do not fit each other, std::runtime_error if
// the loss stops being a number. `resume`: a checkpoint of the same training, or null.
Outcome train(const Settings& settings, const TrainingSet& data, const Hooks& hooks,
              const Checkpoint* resume = nullptr);

// The torch release this was compiled against, for example "2.13.0".
std::string torch_version();

}  // namespace simskip::learn
