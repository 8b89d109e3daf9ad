// Training of a hash network: from float rows in the caller's memory to a DenseNetwork.
//
// The same settings, data, seed and thread count give bit-identical weights on the same machine. torch's random
// state is neither read nor changed; its thread count is set for the call and restored.
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

// Views of the caller's arrays; they must live until train() returns. Row numbers index `inputs`.
struct TrainingSet {
  const float* inputs = nullptr;  // (n, d) row-major, not copied
  std::int64_t n = 0;
  std::int64_t d = 0;
  const float* row_scale = nullptr;    // (n), each row is multiplied by its entry when it is read; null: 1
  const float* row_bias = nullptr;     // (n), added to a row's similarity as a neighbour; null: 0
  const float* centre = nullptr;       // (d), subtracted from the input of the layers; null: 0
  const float* gain = nullptr;         // (d), then multiplied; null: 1
  const float* noise = nullptr;        // (d), standard deviation of the noise added to the input; null: none
  const std::int32_t* rows = nullptr;  // training rows
  std::int64_t n_rows = 0;
  const std::int32_t* labels = nullptr;  // (n), classes 0 .. n_classes-1, or null
  std::int64_t n_classes = 0;
  const std::int32_t* anchors = nullptr;    // training rows whose neighbours are known, or null
  const std::int32_t* neighbors = nullptr;  // (n_anchors, m): training rows, nearest first
  std::int64_t n_anchors = 0;
  std::int64_t m = 0;
  const std::int32_t* evaluation_rows = nullptr;  // projected after every epoch; none if n_evaluation is 0
  std::int64_t n_evaluation = 0;
  const float* residual_weight = nullptr;  // (n_bits, d): start of the residual path, or null for none
  const float* residual_bias = nullptr;    // (n_bits)
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

struct Outcome {
  DenseNetwork network;         // of the best epoch; empty if interrupted before the first epoch ended
  std::int64_t best_epoch = 0;  // 0: none ended
  std::int64_t epochs_done = 0;
  bool interrupted = false;
  bool stopped_early = false;
};

// `outputs` is (n_evaluation, n_bits): the network's outputs for the evaluation rows, valid during the call.
using OnEpoch = std::function<EpochDecision(const EpochReport& report, const float* outputs)>;
// Asked between steps, at most every 50 ms; true ends the training.
using Interrupted = std::function<bool()>;

// Throws std::invalid_argument for settings and data that do not fit each other, std::runtime_error if the loss
// stops being a number.
Outcome train(const Settings& settings, const TrainingSet& data, const OnEpoch& on_epoch,
              const Interrupted& interrupted);

// The torch release this was compiled against, for example "2.13.0".
std::string torch_version();

}  // namespace simskip::learn
