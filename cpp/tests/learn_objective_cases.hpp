// Batches that the objectives' tests share, and the check of a written-out gradient against differences of the loss.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "objective.hpp"

namespace simskip::learn::cases {

constexpr std::int64_t rows = 24, bits = 16, classes = 3, inputs = 5;
inline const ObjectiveContext context{bits, bits, inputs, classes, 2e-3, 0};

inline Batch batch_of(bool with_bias = false) {
  Batch batch;
  at::manual_seed(1);
  batch.inputs = at::randn({rows, inputs});
  batch.inputs = batch.inputs / batch.inputs.norm(2, 1, true);
  if (with_bias) batch.bias = at::rand({rows});
  batch.labels = at::arange(rows).remainder(classes);
  return batch;
}

// Every row has one, two or no classes.
inline Batch several_classes() {
  Batch batch = batch_of();
  batch.labels.reset();
  batch.targets = at::zeros({rows, classes});
  for (std::int64_t i = 0; i < rows; ++i) {
    if (i % 5 != 0) batch.targets[i][i % classes] = 1.0;
    if (i % 4 == 0) batch.targets[i][(i + 1) % classes] = 1.0;
  }
  return batch;
}

inline Batch class_probabilities() {
  Batch batch = batch_of();
  batch.labels.reset();
  at::manual_seed(3);
  batch.targets = at::softmax(2.0 * at::randn({rows, classes}), 1);
  return batch;
}

inline at::Tensor outputs(std::int64_t n = rows, std::int64_t n_bits = bits) {
  at::manual_seed(2);
  // Away from the corners, where logarithms bend within a step of the difference, and from 0, where signs change.
  const at::Tensor u = at::tanh(at::randn({n, n_bits})) * 0.85;
  return u + 0.05 * u.sign();
}

// The gradient at a few places against central differences of the loss.
inline void expect_gradient(Objective& objective, const Batch& batch, const at::Tensor& u = outputs()) {
  const at::Tensor gradient = objective.evaluate(u, batch).gradient.clone();
  ASSERT_TRUE(gradient.abs().max().item<float>() > 0);
  constexpr float step = 1e-2f;
  for (std::int64_t k = 0; k < 12; ++k) {
    const std::int64_t i = 7 * k % u.size(0), j = 5 * k % u.size(1);
    at::Tensor up = u.clone(), down = u.clone();
    up[i][j] += step;
    down[i][j] -= step;
    const double slope = (objective.evaluate(up, batch).loss - objective.evaluate(down, batch).loss) / (2 * step);
    const double given = gradient[i][j].item<double>();
    EXPECT_NEAR(given, slope, 2e-5 + 0.03 * std::abs(slope)) << i << "," << j;
  }
}

// The same for what the objective learns itself, at its start and away from it.
inline void expect_parameter_gradients(Objective& objective, const Batch& batch) {
  const at::Tensor u = outputs();
  for (const Parameter& p : objective.parameters())
    for (std::int64_t k = 0; k < p.size; ++k) p.value[k] += 0.1f * static_cast<float>(k % 7 - 3);
  bool any = false;
  for (const Parameter& p : objective.parameters()) {
    objective.evaluate(u, batch);
    const std::vector<float> gradient(p.gradient, p.gradient + p.size);
    for (std::int64_t k = 0; k < std::min<std::int64_t>(p.size, 12); ++k) {
      const std::int64_t i = 11 * k % p.size;
      const float before = p.value[i];
      constexpr float step = 1e-2f;
      p.value[i] = before + step;
      const double up = objective.evaluate(u, batch).loss;
      p.value[i] = before - step;
      const double down = objective.evaluate(u, batch).loss;
      p.value[i] = before;
      const double slope = (up - down) / (2 * step);
      EXPECT_NEAR(gradient[static_cast<std::size_t>(i)], slope, 3e-5 + 0.02 * std::abs(slope)) << i;
      any = any || std::abs(slope) > 1e-3;
    }
  }
  EXPECT_TRUE(any);
}

}  // namespace simskip::learn::cases
