// Objectives that learn from classes.
#include "centres.hpp"
#include "learn_objective_cases.hpp"

namespace learn = simskip::learn;

using namespace simskip::learn::cases;

TEST(LearnClassObjective, CsqGradientIsTheSlope) {
  for (const std::int64_t n_bits : {bits}) {
    const auto objective = learn::make_objective("csq", {{"quantization", 0.7}}, {n_bits, n_bits, 5, classes, 2e-3, 0});
    expect_gradient(*objective, batch_of(false));
  }
}

TEST(LearnClassObjective, CsqCentresAreFarApart) {
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

TEST(LearnClassObjective, DtshGradientIsTheSlope) {
  const auto objective = learn::make_objective("dtsh", {{"alpha", 1.0}, {"quantization", 0.5}}, context);
  expect_gradient(*objective, batch_of(false));
}

TEST(LearnClassObjective, DtshIgnoresBatchesOfOneClass) {
  const auto objective = learn::make_objective("dtsh", {{"quantization", 0.0}}, context);
  learn::Batch batch = batch_of(false);
  batch.labels.zero_();
  const learn::Evaluation evaluation = objective->evaluate(outputs(), batch);
  EXPECT_EQ(evaluation.loss, 0.0);
  EXPECT_EQ(evaluation.gradient.abs().max().item<float>(), 0.0f);
}

TEST(LearnClassObjective, DpshGradientIsTheSlope) {
  for (const learn::Batch& batch : {batch_of(), several_classes()})
    expect_gradient(*learn::make_objective("dpsh", {{"scale", 4.0}, {"quantization", 0.5}}, context), batch);
}

TEST(LearnClassObjective, OrthoHashGradientIsTheSlope) {
  for (const learn::Batch& batch : {batch_of(), several_classes()})
    expect_gradient(*learn::make_objective("orthohash", {{"scale", 5.0}, {"margin", 0.2}}, context), batch);
}

TEST(LearnClassObjective, OrthoHashDoesNotDependOnTheLengthOfOutputs) {
  const auto objective = learn::make_objective("orthohash", {}, context);
  const at::Tensor u = outputs();
  EXPECT_NEAR(objective->evaluate(u, batch_of()).loss, objective->evaluate(u * 0.5, batch_of()).loss, 1e-5);
}

TEST(LearnClassObjective, HashNetGradientIsTheSlope) {
  for (const double progress : {0.0, 0.2})
    for (const bool tanh_output : {true, false})
      for (learn::Batch batch : {batch_of(), several_classes()}) {
        learn::ObjectiveContext given = context;
        given.tanh_output = tanh_output;
        batch.progress = progress;
        // Smaller outputs: the step must stay small against what beta and the inverse of tanh make of it.
        expect_gradient(*learn::make_objective("hashnet", {{"scale", 4.0}}, given), batch, outputs() * 0.5);
      }
}

TEST(LearnClassObjective, HashNetTakesTheTanhBack) {
  learn::ObjectiveContext plain = context;
  plain.tanh_output = false;
  const at::Tensor y = outputs() * 2.0;
  const double with = learn::make_objective("hashnet", {}, context)->evaluate(at::tanh(y), batch_of()).loss;
  EXPECT_NEAR(with, learn::make_objective("hashnet", {}, plain)->evaluate(y, batch_of()).loss, 1e-5);
}

TEST(LearnClassObjective, HashNetWeighsBothKindsOfPairsAlike) {
  // All inner products 0: every pair costs log 2, whatever the numbers of the two kinds.
  const auto objective = learn::make_objective("hashnet", {}, context);
  learn::Batch batch = batch_of();
  for (const std::int64_t alone : {1, 5, 23}) {
    batch.labels = at::arange(rows).ge(alone).to(at::kLong);
    EXPECT_NEAR(objective->evaluate(at::zeros({rows, bits}), batch).loss, std::log(2.0), 1e-6);
  }
}

TEST(LearnClassObjective, ClassifierGradientIsTheSlope) {
  for (const learn::Batch& batch : {batch_of(), several_classes()}) {
    const auto objective = learn::make_objective("classifier", {{"quantization", 0.5}}, context);
    expect_gradient(*objective, batch);
    expect_parameter_gradients(*objective, batch);
  }
}

TEST(LearnClassObjective, GreedyHashClassifiesBits) {
  const auto objective = learn::make_objective("greedyhash", {{"quantization", 0.0}}, context);
  const at::Tensor u = outputs();
  const learn::Evaluation evaluation = objective->evaluate(u, batch_of());
  const at::Tensor gradient = evaluation.gradient.clone();
  EXPECT_GT(gradient.abs().max().item<float>(), 0.0f);
  // The same bits from other outputs: the same loss and the same gradient, straight through the sign.
  const learn::Evaluation other = objective->evaluate(u * 0.3, batch_of());
  EXPECT_EQ(other.loss, evaluation.loss);
  EXPECT_TRUE(other.gradient.equal(gradient));
  expect_parameter_gradients(*objective, batch_of());
  expect_parameter_gradients(*objective, several_classes());
}

TEST(LearnClassObjective, GreedyHashPullsOutputsToBits) {
  const auto objective = learn::make_objective("greedyhash", {{"quantization", 20.0}}, context);
  // A classifier that says nothing leaves the other term alone.
  for (const learn::Parameter& p : objective->parameters()) std::fill_n(p.value, p.size, 0.0f);
  expect_gradient(*objective, batch_of());
}

TEST(LearnClassObjective, DeepRankingGradientIsTheSlope) {
  // Margins beyond the largest distance: no hinge opens or closes within a step of the difference.
  for (const learn::Batch& batch : {batch_of(), several_classes()})
    expect_gradient(
        *learn::make_objective(
            "deepranking", {{"margin", 5.0}, {"in_margin", 5.0}, {"in_class", 0.7}, {"quantization", 0.5}}, context),
        batch);
}

TEST(LearnClassObjective, DeepRankingIsAtRestWhenClassesAreApart) {
  const auto objective = learn::make_objective("deepranking", {{"in_class", 0.0}, {"quantization", 0.0}}, context);
  const learn::Batch batch = batch_of();
  const at::Tensor centres = learn::class_centres(context);
  const learn::Evaluation apart = objective->evaluate(centres.index_select(0, batch.labels), batch);
  EXPECT_EQ(apart.loss, 0.0);
  EXPECT_EQ(apart.gradient.abs().max().item<float>(), 0.0f);
  EXPECT_NEAR(objective->evaluate(at::ones({rows, bits}), batch).loss, 1.0, 1e-6);
}

TEST(LearnClassObjective, DeepRankingOrdersRowsOfAClassByTheirInputs) {
  const auto objective =
      learn::make_objective("deepranking", {{"margin", 0.0}, {"in_class", 1.0}, {"quantization", 0.0}}, context);
  learn::Batch batch = batch_of();
  batch.labels.zero_();
  // Outputs with the inputs' own cosines, against those of other rows.
  const at::Tensor own = at::cat({batch.inputs, at::zeros({rows, bits - inputs})}, 1);
  EXPECT_LT(objective->evaluate(own, batch).loss, 0.5 * objective->evaluate(own.roll(1, 0).contiguous(), batch).loss);
}

TEST(LearnClassObjective, DistilledGradientIsTheSlopeWithoutSigns) {
  for (const learn::Batch& batch : {class_probabilities(), batch_of(), several_classes()})
    expect_gradient(*learn::make_objective("distilled", {{"ste_start", 0.0}, {"scale", 4.0}}, context), batch);
}

TEST(LearnClassObjective, DistilledLearnsSlopeAndOffset) {
  expect_parameter_gradients(*learn::make_objective("distilled", {}, context), class_probabilities());
}

TEST(LearnClassObjective, SoftmaxGradientIsTheSlope) {
  const auto objective = learn::make_objective("softmax", {}, {classes, classes, inputs, classes, 2e-3, 0});
  for (const learn::Batch& batch : {batch_of(), several_classes()})
    expect_gradient(*objective, batch, outputs(rows, classes) * 3.0);
}

TEST(LearnClassObjective, SoftmaxNeedsAnOutputPerClass) {
  EXPECT_THROW(learn::make_objective("softmax", {}, context), std::invalid_argument);
}

TEST(LearnClassObjective, CentresOfPrefixesAreTheirFirstBits) {
  learn::ObjectiveContext prefix = context;
  prefix.n_bits = 8;
  EXPECT_TRUE(learn::class_centres(prefix).equal(learn::class_centres(context).narrow(1, 0, 8)));
  for (const char* name : {"csq", "orthohash"})
    EXPECT_TRUE(learn::make_objective(name, {}, context)->centres().equal(learn::class_centres(context)));
}
