#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "network.hpp"

namespace learn = simskip::learn;

namespace {

constexpr std::int64_t rows = 20, width = 6, bits = 4;

learn::Tower inputs_of_width() {
  learn::Tower data;
  data.d = width;
  return data;
}

at::Tensor batch() {
  at::manual_seed(3);
  return at::randn({rows, width});
}

// A scalar function of the outputs, and its gradient.
at::Tensor directions() {
  at::manual_seed(4);
  return at::randn({rows, bits});
}

std::vector<float> forward(const learn::DenseNetwork& network, const float* x) {
  std::vector<float> input(x, x + network.layers.front().in), values = input;
  const auto apply = [](const learn::DenseLayer& layer, const std::vector<float>& in) {
    std::vector<float> out(layer.bias);
    for (std::int64_t o = 0; o < layer.out; ++o)
      for (std::int64_t i = 0; i < layer.in; ++i)
        out[static_cast<std::size_t>(o)] +=
            layer.weight[static_cast<std::size_t>(o * layer.in + i)] * in[static_cast<std::size_t>(i)];
    return out;
  };
  for (std::size_t l = 0; l < network.layers.size(); ++l) {
    values = apply(network.layers[l], values);
    if (l + 1 == network.layers.size()) break;
    for (float& v : values) v = std::max(v, 0.0f);
  }
  if (!network.residual.empty()) {
    const std::vector<float> linear = apply(network.residual.front(), input);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += linear[i];
  }
  if (network.output == "tanh")
    for (float& v : values) v = std::tanh(v);
  return values;
}

}  // namespace

TEST(LearnNetwork, GradientsAreSlopes) {
  std::vector<float> weight(bits * width, 0.3f), bias(bits, 0.1f);
  for (const std::string activation : {"relu", "leaky_relu", "gelu", "tanh", "silu"})
    for (const bool norm : {false, true})
      for (const bool residual : {false, true}) {
        learn::NetworkSettings settings;
        settings.n_bits = bits;
        settings.hidden = {5, 7};
        settings.activation = activation;
        settings.dropout = 0.3;
        settings.batch_norm = norm;
        learn::Tower data = inputs_of_width();
        if (residual) {
          data.residual_weight = weight.data();
          data.residual_bias = bias.data();
        }
        learn::Network network(settings, data, 5);
        auto parameters = network.parameters();
        // Away from the zeros that a residual network starts with.
        for (auto& p : parameters)
          for (std::int64_t i = 0; i < p.size; ++i) p.value[i] += 0.05f * static_cast<float>((i * 7 + p.size) % 5);
        const at::Tensor x = batch(), direction = directions();
        // The same step, so the same dropout masks.
        const auto value = [&] {
          return (network.forward(x, true, 1).to(at::kDouble) * direction).sum().item<double>();
        };
        value();
        network.backward(direction);
        std::vector<std::vector<float>> gradients;
        for (const auto& p : parameters) gradients.emplace_back(p.gradient, p.gradient + p.size);
        int agree = 0, total = 0;
        for (std::size_t k = 0; k < parameters.size(); ++k) {
          const std::int64_t i = parameters[k].size / 2;
          const float before = parameters[k].value[i];
          constexpr float step = 2e-3f;
          parameters[k].value[i] = before + step;
          const double up = value();
          parameters[k].value[i] = before - step;
          const double down = value();
          parameters[k].value[i] = before;
          const double slope = (up - down) / (2 * step);
          const double given = gradients[k][static_cast<std::size_t>(i)];
          agree += std::abs(given - slope) <= 0.02 + 0.05 * std::abs(slope);
          ++total;
        }
        // A step can cross a corner of ReLU in one of the parameters.
        EXPECT_GE(agree, total - 1) << activation << " norm " << norm << " residual " << residual;
      }
}

TEST(LearnNetwork, ExportFoldsNormCentreAndGain) {
  for (const bool residual : {false, true}) {
    learn::NetworkSettings settings;
    settings.n_bits = bits;
    settings.hidden = {5};
    settings.batch_norm = true;
    settings.dropout = 0.5;
    settings.input_dropout = 0.2;
    const std::vector<float> centre{0.1f, -0.2f, 0.3f, 0.0f, 1.0f, -1.0f}, gain{1.0f, 2.0f, 0.5f, 1.0f, 3.0f, 1.0f};
    const std::vector<float> weight(bits * width, 0.2f), bias(bits, -0.1f);
    learn::Tower data = inputs_of_width();
    data.centre = centre.data();
    data.gain = gain.data();
    if (residual) {
      data.residual_weight = weight.data();
      data.residual_bias = bias.data();
    }
    learn::Network network(settings, data, 6);
    for (auto& p : network.parameters())
      for (std::int64_t i = 0; i < p.size; ++i) p.value[i] += 0.1f * static_cast<float>(i % 3);
    const at::Tensor x = batch();
    for (int i = 0; i < 5; ++i) network.forward(x, true, static_cast<std::uint64_t>(i));  // moves the running moments
    const at::Tensor u = network.forward(x, false).clone();
    const learn::DenseNetwork exported = network.exported();
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::vector<float> values = forward(exported, x.data_ptr<float>() + row * width);
      for (std::int64_t k = 0; k < bits; ++k)
        EXPECT_NEAR(values[static_cast<std::size_t>(k)], u[row][k].item<float>(), 1e-5) << row << "," << k;
    }
  }
}

TEST(LearnNetwork, ResidualNetworkStartsLinear) {
  learn::NetworkSettings settings;
  settings.n_bits = bits;
  settings.hidden = {5};
  settings.output = "none";
  std::vector<float> weight(bits * width), bias(bits, 0.5f);
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<float>(i) * 0.1f;
  learn::Tower data = inputs_of_width();
  data.residual_weight = weight.data();
  data.residual_bias = bias.data();
  learn::Network network(settings, data, 7);
  const at::Tensor x = batch();
  const at::Tensor expected = at::mm(x, at::from_blob(weight.data(), {bits, width}, at::kFloat).t()) + 0.5;
  EXPECT_TRUE(at::allclose(network.forward(x, true), expected, 1e-5, 1e-5));
}

TEST(LearnNetwork, DropoutKeepsTheMeanAndDependsOnTheStep) {
  learn::NetworkSettings settings;
  settings.n_bits = 1;
  settings.hidden = {};
  settings.input_dropout = 0.25;
  settings.output = "none";
  learn::Tower data = inputs_of_width();
  data.d = 4000;
  learn::Network network(settings, data, 8);
  auto parameters = network.parameters();
  std::fill_n(parameters[0].value, parameters[0].size, 1.0f);
  std::fill_n(parameters[1].value, parameters[1].size, 0.0f);
  const at::Tensor x = at::ones({1, 4000});
  const float first = network.forward(x, true, 1).item<float>(), again = network.forward(x, true, 1).item<float>();
  const float other = network.forward(x, true, 2).item<float>(), without = network.forward(x, false).item<float>();
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  EXPECT_NEAR(first, 4000, 200);  // standard deviation 36
  EXPECT_NEAR(without, 4000, 1);
}

TEST(LearnNetwork, UnknownNamesThrow) {
  learn::NetworkSettings settings;
  settings.activation = "relux";
  EXPECT_THROW(learn::Network(settings, inputs_of_width(), 0), std::invalid_argument);
  settings.activation = "relu";
  settings.output = "sigmoid";
  EXPECT_THROW(learn::Network(settings, inputs_of_width(), 0), std::invalid_argument);
}
