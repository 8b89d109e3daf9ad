#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "objective.hpp"

namespace learn = simskip::learn;

namespace {

constexpr std::int64_t rows = 24, bits = 16, classes = 3;

learn::Batch batch_of(bool with_bias) {
  learn::Batch batch;
  at::manual_seed(1);
  batch.inputs = at::randn({rows, 5});
  batch.inputs = batch.inputs / batch.inputs.norm(2, 1, true);
  if (with_bias) batch.bias = at::rand({rows});
  batch.labels = at::arange(rows).remainder(classes);
  batch.progress = 0.0;
  return batch;
}

at::Tensor outputs() {
  at::manual_seed(2);
  // Away from the corners, where logarithms bend within a step of the difference, and from 0, where signs change.
  const at::Tensor u = at::tanh(at::randn({rows, bits})) * 0.85;
  return u + 0.05 * u.sign();
}

// The gradient at a few places against central differences of the loss.
void expect_gradient(learn::Objective& objective, const learn::Batch& batch) {
  const at::Tensor u = outputs();
  const at::Tensor gradient = objective.evaluate(u, batch).gradient.clone();
  ASSERT_TRUE(gradient.abs().max().item<float>() > 0);
  constexpr float step = 1e-2f;
  for (std::int64_t k = 0; k < 12; ++k) {
    const std::int64_t i = 7 * k % rows, j = 5 * k % bits;
    at::Tensor up = u.clone(), down = u.clone();
    up[i][j] += step;
    down[i][j] -= step;
    const double slope = (objective.evaluate(up, batch).loss - objective.evaluate(down, batch).loss) / (2 * step);
    const double given = gradient[i][j].item<double>();
    EXPECT_NEAR(given, slope, 2e-5 + 0.03 * std::abs(slope)) << i << "," << j;
  }
}

const learn::ObjectiveContext context{bits, bits, 5, classes, 2e-3, 0};

}  // namespace

TEST(LearnObjective, NeighborsGradientIsTheSlopeWithoutSigns) {
  // ste_start 0: codes are the outputs themselves, so the loss is smooth and the straight-through gradient exact.
  for (const bool with_bias : {false, true}) {
    const auto objective = learn::make_objective(
        "neighbors", {{"tau", 0.3}, {"ste_start", 0.0}, {"ste_end", 0.0}, {"balance", 3.0}}, context);
    expect_gradient(*objective, batch_of(with_bias));
  }
}

TEST(LearnObjective, NeighborsLearnsItsScale) {
  const auto objective = learn::make_objective("neighbors", {{"tau", 0.3}}, context);
  const learn::Batch batch = batch_of(false);
  const at::Tensor u = outputs();
  objective->evaluate(u, batch);
  const learn::Parameter scale = objective->parameters().at(0);
  const float gradient = *scale.gradient, before = *scale.value;
  constexpr float step = 1e-2f;
  *scale.value = before + step;
  const double up = objective->evaluate(u, batch).loss;
  *scale.value = before - step;
  const double down = objective->evaluate(u, batch).loss;
  EXPECT_NEAR(gradient, (up - down) / (2 * step), 1e-3 + 0.02 * std::abs(gradient));
}

TEST(LearnObjective, NeighborsOfTheTargetItselfHaveNoDivergence) {
  // Codes as inputs, with the temperature that makes both sides the same distribution.
  const auto objective = learn::make_objective(
      "neighbors", {{"tau", 1.0}, {"scale", static_cast<double>(bits)}, {"balance", 0.0}}, context);
  learn::Batch batch = batch_of(false);
  const at::Tensor u = outputs().sign();
  batch.inputs = u.clone();
  batch.progress = 1.0;
  const learn::Evaluation evaluation = objective->evaluate(u, batch);
  EXPECT_NEAR(evaluation.loss, 0.0, 1e-4);
  EXPECT_NEAR(evaluation.gradient.abs().max().item<float>(), 0.0, 1e-4);
}

TEST(LearnObjective, CsqGradientIsTheSlope) {
  for (const std::int64_t n_bits : {bits}) {
    const auto objective = learn::make_objective("csq", {{"quantization", 0.7}}, {n_bits, n_bits, 5, classes, 2e-3, 0});
    expect_gradient(*objective, batch_of(false));
  }
}

TEST(LearnObjective, CsqCentresAreFarApart) {
  // 16 bits: rows of the Hadamard matrix. 24 bits: the chosen ones must still differ in a good part of the bits.
  for (const std::int64_t n_bits : {16, 24}) {
    constexpr std::int64_t n_classes = 10;
    const auto objective =
        learn::make_objective("csq", {{"quantization", 0.0}}, {n_bits, n_bits, 5, n_classes, 2e-3, 0});
    learn::Batch batch;
    batch.labels = at::arange(n_classes);
    // At u = 0 the gradient is -centre / count: it shows the centres.
    const at::Tensor centres = -objective->evaluate(at::zeros({n_classes, n_bits}), batch).gradient.sign();
    const at::Tensor products = at::mm(centres, centres.t());
    for (std::int64_t a = 0; a < n_classes; ++a)
      for (std::int64_t b = 0; b < a; ++b) EXPECT_LE(products[a][b].item<double>(), n_bits == 16 ? 0.0 : n_bits / 3.0);
  }
}

TEST(LearnObjective, DtshGradientIsTheSlope) {
  const auto objective = learn::make_objective("dtsh", {{"alpha", 1.0}, {"quantization", 0.5}}, context);
  expect_gradient(*objective, batch_of(false));
}

TEST(LearnObjective, DtshIgnoresBatchesOfOneClass) {
  const auto objective = learn::make_objective("dtsh", {{"quantization", 0.0}}, context);
  learn::Batch batch = batch_of(false);
  batch.labels.zero_();
  const learn::Evaluation evaluation = objective->evaluate(outputs(), batch);
  EXPECT_EQ(evaluation.loss, 0.0);
  EXPECT_EQ(evaluation.gradient.abs().max().item<float>(), 0.0f);
}

TEST(LearnObjective, UnknownNamesAndOptionsThrow) {
  EXPECT_THROW(learn::make_objective("nearest", {}, context), std::invalid_argument);
  EXPECT_THROW(learn::make_objective("csq", {{"alpha", 1.0}}, context), std::invalid_argument);
}
