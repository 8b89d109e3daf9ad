// What all objectives have in common, and those that need no labels.
#include "learn_objective_cases.hpp"

namespace learn = simskip::learn;

using namespace simskip::learn::cases;

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

TEST(LearnObjective, AutoencoderGradientIsTheSlopeWithoutSigns) {
  const auto objective = learn::make_objective("autoencoder", {{"ste", 0.0}, {"balance", 2.0}}, context);
  for (const learn::Parameter& p : objective->parameters())
    for (std::int64_t k = 0; k < p.size; ++k) p.value[k] = 0.1f * static_cast<float>(k % 7 - 3);
  expect_gradient(*objective, batch_of());
}

TEST(LearnObjective, AutoencoderLearnsItsDecoder) {
  const auto objective = learn::make_objective("autoencoder", {}, context);
  expect_parameter_gradients(*objective, batch_of());
}

TEST(LearnObjective, BiHalfGradientIsTheSlopeWithoutHalves) {
  for (const double centre : {0.0, 1.0}) {
    const auto objective = learn::make_objective("bihalf", {{"half", 0.0}, {"centre", centre}}, context);
    expect_gradient(*objective, batch_of());
  }
}

TEST(LearnObjective, BiHalfMakesHalvesOfEveryBit) {
  // The only codes that the pull does not move are +-1, half and half: one gradient step of the right length shows
  // them.
  const double pull = 1e6;  // drowns the other term
  const auto objective = learn::make_objective("bihalf", {{"pull", pull}}, context);
  for (const std::int64_t n : {rows, rows - 1}) {
    learn::Batch batch = batch_of();
    batch.inputs = batch.inputs.narrow(0, 0, n).contiguous();
    const at::Tensor u = at::round(outputs(n) * 4.0) / 4.0;  // with ties
    const learn::Evaluation evaluation = objective->evaluate(u, batch);
    const at::Tensor code = (u - evaluation.gradient * (static_cast<double>(u.numel()) / pull)).round();
    EXPECT_TRUE(code.abs().eq(1).all().item<bool>());
    EXPECT_TRUE(code.gt(0).sum(0).eq(n / 2).all().item<bool>());
    for (std::int64_t k = 0; k < bits; ++k) {
      const at::Tensor ones = u.select(1, k).masked_select(code.select(1, k).gt(0));
      const at::Tensor rest = u.select(1, k).masked_select(code.select(1, k).lt(0));
      EXPECT_GE(ones.min().item<float>(), rest.max().item<float>());
    }
  }
}

class EveryObjective : public testing::TestWithParam<std::string> {
 protected:
  static void expect_finite(const std::string& name, const learn::Batch& batch,
                            const learn::ObjectiveContext& context) {
    const auto objective = learn::make_objective(name, {}, context);
    const at::Tensor u = outputs(batch.inputs.size(0), context.n_bits);
    for (const at::Tensor& given : {u, at::zeros_like(u), at::ones_like(u)}) {
      const learn::Evaluation evaluation = objective->evaluate(given, batch);
      EXPECT_TRUE(std::isfinite(evaluation.loss));
      EXPECT_EQ(evaluation.gradient.sizes(), given.sizes());
      EXPECT_TRUE(evaluation.gradient.isfinite().all().item<bool>());
      for (const learn::Parameter& p : objective->parameters())
        for (std::int64_t k = 0; k < p.size; ++k) ASSERT_TRUE(std::isfinite(p.gradient[k]));
    }
  }

  // softmax has one output per class.
  static learn::ObjectiveContext context_of(const std::string& name, std::int64_t n_classes = classes) {
    const std::int64_t width = name == "softmax" ? n_classes : bits;
    return {width, width, inputs, n_classes, 2e-3, 0};
  }

  static learn::Batch shortened(learn::Batch batch, std::int64_t n) {
    for (at::Tensor* tensor : {&batch.inputs, &batch.labels, &batch.targets})
      if (tensor->defined()) *tensor = tensor->narrow(0, 0, n).contiguous();
    return batch;
  }
};

TEST_P(EveryObjective, SurvivesBatchesOfOneClass) {
  learn::Batch batch = batch_of();
  batch.labels.zero_();
  expect_finite(GetParam(), batch, context_of(GetParam()));
  expect_finite(GetParam(), batch, context_of(GetParam(), 1));
}

TEST_P(EveryObjective, SurvivesOneRowPerClass) {
  learn::Batch batch = batch_of();
  batch.labels = at::arange(rows);
  expect_finite(GetParam(), batch, context_of(GetParam(), rows));
}

TEST_P(EveryObjective, SurvivesDuplicates) {
  learn::Batch batch = batch_of();
  batch.inputs = batch.inputs.narrow(0, 0, 1).repeat({rows, 1});
  expect_finite(GetParam(), batch, context_of(GetParam()));
  batch.inputs.zero_();
  expect_finite(GetParam(), batch, context_of(GetParam()));
}

TEST_P(EveryObjective, SurvivesTwoRows) {
  expect_finite(GetParam(), shortened(batch_of(), 2), context_of(GetParam()));
  expect_finite(GetParam(), shortened(several_classes(), 2), context_of(GetParam()));
}

TEST_P(EveryObjective, SurvivesSeveralClassesPerRow) {
  expect_finite(GetParam(), several_classes(), context_of(GetParam()));
  expect_finite(GetParam(), class_probabilities(), context_of(GetParam()));
}

TEST_P(EveryObjective, OneClassAsTargetIsTheClassAsLabel) {
  const std::string name = GetParam();
  // With targets these ask yes or no for each class: another loss.
  if (name == "classifier" || name == "greedyhash" || name == "softmax") GTEST_SKIP();
  const learn::Batch labels = batch_of();
  learn::Batch targets = labels;
  targets.targets = at::zeros({rows, classes}).scatter_(1, labels.labels.unsqueeze(1), 1.0);
  targets.labels.reset();
  const at::Tensor u = outputs();
  const double one = learn::make_objective(name, {}, context)->evaluate(u, labels).loss;
  EXPECT_NEAR(learn::make_objective(name, {}, context)->evaluate(u, targets).loss, one, 1e-6 * std::abs(one) + 1e-7);
}

TEST_P(EveryObjective, SaysWhatItIs) {
  const learn::ObjectiveInfo& info = learn::find_objective(GetParam()).info;
  EXPECT_EQ(info.name, GetParam());
  EXPECT_FALSE(info.formula.empty() || info.source.empty());
}

INSTANTIATE_TEST_SUITE_P(LearnObjective, EveryObjective, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const learn::ObjectiveInfo& info : learn::objectives())
                             if (info.towers == 1) names.push_back(info.name);
                           return names;
                         }()),
                         [](const auto& info) { return info.param; });

TEST(LearnObjective, UnknownNamesAndOptionsThrow) {
  EXPECT_THROW(learn::make_objective("nearest", {}, context), std::invalid_argument);
  EXPECT_THROW(learn::make_objective("csq", {{"alpha", 1.0}}, context), std::invalid_argument);
}
