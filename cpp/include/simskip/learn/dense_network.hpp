// A trained hash network as plain numbers: what is left when training is over.
//
// Batch-norm, input centring and input scaling are folded into the weights, dropout is gone, so a forward pass
// is: activation(W x + b) layer by layer, then the residual path W_r x + c added to the last layer, then the
// output activation. Weights are row-major (out, in).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace simskip::learn {

struct DenseLayer {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::vector<float> weight;  // out * in
  std::vector<float> bias;    // out
};

struct DenseNetwork {
  std::vector<DenseLayer> layers;    // hidden layers, then the output layer
  std::vector<DenseLayer> residual;  // empty or one layer from the input to the output
  std::string activation;            // after every hidden layer
  std::string output;                // "tanh" or "none"
};

}  // namespace simskip::learn
