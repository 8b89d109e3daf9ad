// How a hash network is built and trained. Python fills these in; nothing here depends on data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace simskip::learn {

struct NetworkSettings {
  std::int64_t n_bits = 64;
  std::vector<std::int64_t> hidden{1024};  // width of each hidden layer; empty: one linear layer
  std::string activation = "relu";         // relu, leaky_relu, gelu (tanh approximation), tanh, silu
  double dropout = 0.0;                    // after every hidden activation
  double input_dropout = 0.0;              // on the input of the layers (not of the residual path)
  bool batch_norm = false;                 // after every hidden layer; without a residual path also after the last
  std::string output = "tanh";             // tanh, none
};

struct Settings {
  NetworkSettings network;
  std::string objective = "neighbors";
  std::map<std::string, double> objective_options;  // by name; the rest keep the objective's defaults
  std::int64_t epochs = 10;
  std::int64_t steps_per_epoch = 0;  // 0: one pass over the training rows
  std::int64_t batch_size = 256;     // rows per step, at most the number of training rows
  // Batches of `neighbors`: so many anchors, with so many true neighbours each; the rest is drawn uniformly.
  std::int64_t anchors = 48;
  std::int64_t neighbors_per_anchor = 12;
  std::int64_t rows_per_class = 8;  // batches of objectives that compare rows of a batch by class
  // The first so many bits of a code shall be good codes too: the loss is the mean over these widths and n_bits.
  std::vector<std::int64_t> prefixes;
  std::string optimizer = "adamw";  // adam, adamw, sgd (momentum 0.9)
  std::string schedule = "cosine";  // cosine, constant, onecycle
  double learning_rate = 2e-3;
  double weight_decay = 0.0;
  std::int64_t patience = 0;  // epochs without a better metric before stopping; 0: never
  std::uint64_t seed = 0;
  int threads = 1;
};

}  // namespace simskip::learn
