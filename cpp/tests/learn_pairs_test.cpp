#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "objective.hpp"
#include "simskip/learn/trainer.hpp"

namespace learn = simskip::learn;

namespace {

constexpr std::int64_t pairs = 12, bits = 16;
const learn::ObjectiveContext context{bits, bits, 5, 0, 2e-3, 0};

learn::Batch batch_of_pairs() {
  learn::Batch batch;
  at::manual_seed(1);
  batch.inputs = at::randn({pairs, 5});
  batch.second_inputs = at::randn({pairs, 7});
  return batch;
}

// Of both networks, away from 0, where signs change.
at::Tensor outputs() {
  at::manual_seed(2);
  const at::Tensor u = at::tanh(at::randn({2 * pairs, bits})) * 0.85;
  return u + 0.05 * u.sign();
}

learn::Options with(learn::Options options, const learn::Options& more) {
  for (const auto& [name, value] : more) options[name] = value;
  return options;
}

// Items and their other side: the same columns in reverse order, without the last.
struct Items {
  static constexpr int n = 300, d = 12, second_d = 11;
  std::vector<float> first, second, noise = std::vector<float>(second_d, 0.05f);
  std::vector<std::int32_t> rows;

  Items() {
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    for (int i = 0; i < n * d; ++i) first.push_back(normal(engine));
    for (int i = 0; i < n; ++i) {
      rows.push_back(i);
      for (int j = 0; j < second_d; ++j) second.push_back(first[static_cast<std::size_t>((i + 1) * d - 1 - j)]);
    }
  }

  learn::TrainingSet view() const {
    learn::TrainingSet data;
    data.towers.resize(2);
    data.towers[0].inputs = first.data();
    data.towers[0].n = n;
    data.towers[0].d = d;
    data.towers[1].inputs = second.data();
    data.towers[1].n = n;
    data.towers[1].d = second_d;
    data.towers[1].noise = noise.data();
    data.rows = data.evaluation_rows = rows.data();
    data.n_rows = data.n_evaluation = n;
    return data;
  }
};

learn::Settings settings_for_pairs() {
  learn::Settings settings;
  settings.network.n_bits = 32;
  settings.network.hidden = {64};
  settings.objective = "pairs";
  settings.epochs = 4;
  settings.steps_per_epoch = 60;
  settings.batch_size = 96;
  settings.learning_rate = 5e-3;
  return settings;
}

// Rows of the first side whose pair is among the nearest ten of the second side, by the signs of (2 n, n_bits) outputs.
int found_pairs(const std::vector<float>& outputs, int n, int n_bits) {
  const auto differing = [&](int i, int j) {
    int count = 0;
    for (int k = 0; k < n_bits; ++k)
      count += (outputs[static_cast<std::size_t>(i * n_bits + k)] > 0) !=
               (outputs[static_cast<std::size_t>((n + j) * n_bits + k)] > 0);
    return count;
  };
  int found = 0;
  for (int i = 0; i < n; ++i) {
    int nearer = 0;
    for (int j = 0; j < n; ++j) nearer += j != i && differing(i, j) <= differing(i, i);
    found += nearer < 10;
  }
  return found;
}

}  // namespace

TEST(LearnPairs, GradientIsTheSlopeWithoutSigns) {
  // Codes are the outputs themselves: smooth, and the straight-through gradient exact.
  const learn::Options smooth{{"ste_start", 0.0}, {"ste_end", 0.0}, {"balance", 3.0}};
  const learn::Options soft{{"soft", 0.4}, {"tau_first", 0.8}, {"tau_second", 2.0}};
  const learn::Batch batch = batch_of_pairs();
  const at::Tensor u = outputs();
  for (const learn::Options& options : {smooth, with(smooth, soft), with(smooth, {{"quantization", 2.0}})}) {
    const auto objective = learn::make_objective("pairs", options, context);
    const at::Tensor gradient = objective->evaluate(u, batch).gradient.clone();
    constexpr float step = 1e-2f;
    for (std::int64_t k = 0; k < 24; ++k) {
      const std::int64_t i = 7 * k % (2 * pairs), j = 5 * k % bits;
      at::Tensor up = u.clone(), down = u.clone();
      up[i][j] += step;
      down[i][j] -= step;
      const double slope = (objective->evaluate(up, batch).loss - objective->evaluate(down, batch).loss) / (2 * step);
      EXPECT_NEAR(gradient[i][j].item<double>(), slope, 2e-5 + 0.03 * std::abs(slope)) << i << "," << j;
    }
  }
}

TEST(LearnPairs, LearnsItsScaleUpToABound) {
  const auto objective = learn::make_objective("pairs", {{"soft", 0.3}, {"tau_first", 0.8}}, context);
  const learn::Batch batch = batch_of_pairs();
  const at::Tensor u = outputs();
  objective->evaluate(u, batch);
  const learn::Parameter scale = objective->parameters().at(0);
  const float gradient = *scale.gradient, before = *scale.value;
  constexpr float step = 1e-2f;
  *scale.value = before + step;
  const double up = objective->evaluate(u, batch).loss;
  *scale.value = before - step;
  const double down = objective->evaluate(u, batch).loss;
  EXPECT_GT(std::abs(gradient), 1e-2);
  EXPECT_NEAR(gradient, (up - down) / (2 * step), 1e-3 + 0.02 * std::abs(gradient));
  *scale.value = 9.0f;
  EXPECT_NEAR(objective->evaluate(u, batch).parts.at("scale"), 100.0, 1e-3);
}

TEST(LearnPairs, IsTheMeanOfBothCrossEntropies) {
  const auto objective =
      learn::make_objective("pairs", {{"balance", 0.0}, {"scale", static_cast<double>(bits)}}, context);
  learn::Batch batch = batch_of_pairs();
  batch.progress = 1.0;
  const at::Tensor u = outputs(), codes = u.sign().to(at::kDouble);
  const at::Tensor logits = at::mm(codes.narrow(0, 0, pairs), codes.narrow(0, pairs, pairs).t());
  const at::Tensor own = logits.diagonal();
  const at::Tensor both = (at::logsumexp(logits, {0}) - own).mean() + (at::logsumexp(logits, {1}) - own).mean();
  EXPECT_NEAR(objective->evaluate(u, batch).loss, both.item<double>() / 2, 1e-4 * both.item<double>());
}

TEST(LearnPairs, AlikeItemsUnderOneCodeHaveNoDivergence) {
  // Everything is alike on both sides and has one code: every distribution is uniform.
  const auto objective = learn::make_objective("pairs", {{"balance", 0.0}, {"soft", 1.0}}, context);
  learn::Batch batch;
  batch.inputs = at::ones({pairs, 5});
  batch.second_inputs = at::ones({pairs, 3}) * 50;
  const learn::Evaluation evaluation = objective->evaluate(at::ones({2 * pairs, bits}) * 0.5, batch);
  EXPECT_NEAR(evaluation.loss, 0.0, 1e-5);
  EXPECT_NEAR(evaluation.gradient.abs().max().item<float>(), 0.0, 1e-6);
}

TEST(LearnPairs, OptionsThatMakeNoSenseThrow) {
  for (const learn::Options& options : {learn::Options{{"soft", 1.5}}, learn::Options{{"tau_second", 0.0}},
                                        learn::Options{{"scale", 0.0}}, learn::Options{{"max_scale", 2.0}}})
    EXPECT_THROW(learn::make_objective("pairs", options, context), std::invalid_argument);
}

TEST(LearnPairs, TrainedNetworksFindThePairAndAreTheSameForASeed) {
  const Items items;
  const learn::Settings settings = settings_for_pairs();
  std::vector<float> seen;
  std::vector<int> found;
  const auto fit = [&] {
    return learn::train(settings, items.view(), {.on_epoch = [&](const learn::EpochReport&, const float* given) {
                          seen.assign(given, given + 2 * Items::n * settings.network.n_bits);
                          found.push_back(found_pairs(seen, Items::n, static_cast<int>(settings.network.n_bits)));
                          return learn::EpochDecision{};
                        }});
  };
  const learn::Outcome outcome = fit(), again = fit();
  ASSERT_EQ(outcome.networks.size(), 2u);
  EXPECT_EQ(outcome.networks[0].layers[0].in, Items::d);
  EXPECT_EQ(outcome.networks[1].layers[0].in, Items::second_d);
  EXPECT_GT(found[3], 8 * Items::n / 10);  // by chance ten
  for (std::size_t t = 0; t < 2; ++t)
    EXPECT_EQ(outcome.networks[t].layers[0].weight, again.networks[t].layers[0].weight);
}

TEST(LearnPairs, TakesTwoTowersOfTheSameRows) {
  const Items items;
  const auto expect_throw = [&](auto change) {
    learn::TrainingSet data = items.view();
    change(data);
    EXPECT_THROW(
        learn::train(settings_for_pairs(), data, {.on_epoch = [](auto&, auto) { return learn::EpochDecision{}; }}),
        std::invalid_argument);
  };
  expect_throw([](learn::TrainingSet& data) { data.towers.pop_back(); });
  expect_throw([](learn::TrainingSet& data) { data.towers[1].n = 200; });
}
