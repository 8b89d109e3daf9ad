// What a training can start from and be made of: checkpoints, earlier weights, half floats, prefixes, two towers.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "objective.hpp"
#include "prefix_loss.hpp"
#include "simskip/learn/trainer.hpp"

namespace learn = simskip::learn;

namespace {

constexpr std::int64_t n = 200, d = 10, bits = 12;

struct Rows {
  std::vector<float> inputs;
  std::vector<c10::Half> half;
  std::vector<std::int32_t> rows, labels;

  Rows() {
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < n; ++i) {
      rows.push_back(static_cast<std::int32_t>(i));
      labels.push_back(static_cast<std::int32_t>(i % 4));
      for (std::int64_t j = 0; j < d; ++j) {
        half.push_back(static_cast<c10::Half>(normal(engine) + static_cast<float>(i % 4 == j % 4)));
        inputs.push_back(static_cast<float>(half.back()));
      }
    }
  }

  learn::TrainingSet view(std::size_t towers = 1) const {
    learn::TrainingSet data;
    learn::Tower tower;
    tower.inputs = inputs.data();
    tower.n = n;
    tower.d = d;
    data.towers.assign(towers, tower);
    data.rows = data.evaluation_rows = rows.data();
    data.n_rows = n;
    data.n_evaluation = 5;
    data.labels = labels.data();
    data.n_classes = 4;
    return data;
  }
};

learn::Settings settings_for(const std::string& objective, std::int64_t epochs) {
  learn::Settings settings;
  settings.network.n_bits = bits;
  settings.network.hidden = {16};
  settings.network.dropout = 0.2;
  settings.network.batch_norm = true;
  settings.objective = objective;
  settings.epochs = epochs;
  settings.steps_per_epoch = 7;
  settings.batch_size = 64;
  settings.seed = 3;
  return settings;
}

learn::EpochDecision go_on(const learn::EpochReport&, const float*) { return {}; }

}  // namespace

TEST(LearnResume, CheckpointsAreEnough) {
  const Rows rows;
  for (const std::string objective : {"csq", "dtsh"})
    for (const std::string optimizer : {"adamw", "adam", "sgd"}) {
      learn::Settings settings = settings_for(objective, 5);
      settings.optimizer = optimizer;
      std::vector<learn::Checkpoint> checkpoints;
      const auto keep = [&](const learn::Checkpoint& checkpoint) { checkpoints.push_back(checkpoint); };
      const learn::Outcome whole = learn::train(settings, rows.view(), {.on_epoch = go_on, .on_checkpoint = keep});
      ASSERT_EQ(checkpoints.size(), 5u);
      for (const learn::Checkpoint& checkpoint : checkpoints) {
        const learn::Outcome resumed = learn::train(settings, rows.view(), {.on_epoch = go_on}, &checkpoint);
        EXPECT_EQ(resumed.epochs_done, 5);
        for (std::size_t l = 0; l < 2; ++l) {
          EXPECT_EQ(resumed.networks[0].layers[l].weight, whole.networks[0].layers[l].weight);
          EXPECT_EQ(resumed.networks[0].layers[l].bias, whole.networks[0].layers[l].bias);
        }
      }
    }
}

TEST(LearnResume, CheckpointsOfOthersThrow) {
  const Rows rows;
  learn::Checkpoint last;
  const learn::Hooks hooks{.on_epoch = go_on, .on_checkpoint = [&](const learn::Checkpoint& c) { last = c; }};
  learn::Settings settings = settings_for("csq", 2);
  learn::train(settings, rows.view(), hooks);
  const learn::Checkpoint good = last;
  const auto refused = [&](auto change) {
    learn::Settings other = settings;
    learn::Checkpoint checkpoint = good;
    change(other, checkpoint);
    EXPECT_THROW(learn::train(other, rows.view(), hooks, &checkpoint), std::invalid_argument);
  };
  using S = learn::Settings;
  using C = learn::Checkpoint;
  refused([](S& s, C&) { s.epochs = 1; });
  refused([](S& s, C&) { s.network.hidden = {15}; });
  refused([](S& s, C&) { s.network.batch_norm = false; });
  refused([](S& s, C&) { s.optimizer = "sgd"; });
  refused([](S&, C& c) { c.tensors.pop_back(); });
  refused([](S&, C& c) { c.tensors[0].pop_back(); });
  refused([](S&, C& c) { c.epoch = 0; });
  refused([](S&, C& c) { c.best_epoch = 3; });
}

TEST(LearnResume, PatienceCountsOnAfterACheckpoint) {
  const Rows rows;
  learn::Settings settings = settings_for("csq", 9);
  settings.patience = 2;
  std::vector<learn::Checkpoint> checkpoints;
  const learn::Hooks hooks{.on_epoch =
                               [](const learn::EpochReport& report, const float*) {
                                 learn::EpochDecision decision;
                                 decision.metric = -std::abs(static_cast<double>(report.epoch) - 2.0);
                                 return decision;
                               },
                           .on_checkpoint = [&](const learn::Checkpoint& c) { checkpoints.push_back(c); }};
  const learn::Outcome whole = learn::train(settings, rows.view(), hooks);
  EXPECT_EQ(whole.best_epoch, 2);
  EXPECT_EQ(whole.epochs_done, 4);
  const std::vector<learn::Checkpoint> all = checkpoints;
  for (const learn::Checkpoint& checkpoint : all) {
    const learn::Outcome resumed = learn::train(settings, rows.view(), hooks, &checkpoint);
    EXPECT_EQ(resumed.epochs_done, 4);
    EXPECT_TRUE(resumed.stopped_early);
    EXPECT_EQ(resumed.networks[0].layers[0].weight, whole.networks[0].layers[0].weight);
  }
}

TEST(LearnResume, StartsFromEarlierWeights) {
  const Rows rows;
  learn::Settings settings = settings_for("csq", 3);
  const learn::DenseNetwork trained = learn::train(settings, rows.view(), {.on_epoch = go_on}).networks.at(0);
  settings.network.batch_norm = false;  // folded away
  settings.learning_rate = 1e-12;
  learn::TrainingSet data = rows.view();
  data.towers[0].start = &trained;
  const learn::DenseNetwork again = learn::train(settings, data, {.on_epoch = go_on}).networks.at(0);
  for (std::size_t l = 0; l < 2; ++l)
    for (std::size_t i = 0; i < trained.layers[l].weight.size(); ++i)
      ASSERT_NEAR(again.layers[l].weight[i], trained.layers[l].weight[i], 1e-6);
  settings.network.hidden = {15};
  EXPECT_THROW(learn::train(settings, data, {.on_epoch = go_on}), std::invalid_argument);
  settings.network.hidden = {16};
  settings.network.batch_norm = true;
  EXPECT_THROW(learn::train(settings, data, {.on_epoch = go_on}), std::invalid_argument);
}

TEST(LearnResume, HalfFloatsAreReadAsTheyAre) {
  const Rows rows;
  learn::TrainingSet data = rows.view();
  const learn::Settings settings = settings_for("csq", 2);
  const learn::DenseNetwork full = learn::train(settings, data, {.on_epoch = go_on}).networks.at(0);
  data.towers[0].inputs = rows.half.data();
  data.towers[0].half = true;
  EXPECT_EQ(learn::train(settings, data, {.on_epoch = go_on}).networks.at(0).layers[0].weight, full.layers[0].weight);
}

TEST(LearnPrefix, LossIsTheMeanOverWidthsAndItsGradientTheSlope) {
  const learn::Settings settings = settings_for("csq", 1);
  const std::vector<std::int64_t> widths{4, 8, 12};
  const auto objective = [](std::int64_t width) {
    return learn::make_objective("csq", {}, {width, bits, d, 4, 1e-3, 0});
  };
  std::vector<std::unique_ptr<learn::Objective>> objectives;
  for (const std::int64_t width : widths) objectives.push_back(objective(width));
  learn::PrefixLoss loss(widths, std::move(objectives));
  at::manual_seed(1);
  const at::Tensor u = at::rand({9, bits}) * 1.6 - 0.8;
  learn::Batch batch;
  batch.labels = at::arange(9).remainder(4);
  const learn::Evaluation evaluation = loss.evaluate(u, batch);
  double sum = 0;
  for (const std::int64_t width : widths)
    sum += objective(width)->evaluate(u.narrow(1, 0, width).contiguous(), batch).loss;
  EXPECT_NEAR(evaluation.loss, sum / 3, 1e-6);
  const at::Tensor gradient = evaluation.gradient.clone();
  for (const std::int64_t j : {1, 5, 10}) {
    at::Tensor up = u.clone(), down = u.clone();
    up[2][j] += 1e-2;
    down[2][j] -= 1e-2;
    const double slope = (loss.evaluate(up, batch).loss - loss.evaluate(down, batch).loss) / 2e-2;
    EXPECT_NEAR(gradient[2][j].item<double>(), slope, 1e-4 + 0.02 * std::abs(slope));
  }
}

TEST(LearnCustom, LossOfTheUsersOwnIsLowered) {
  const Rows rows;
  learn::Settings settings = settings_for("custom", 4);
  settings.batch_size = 50;
  settings.learning_rate = 2e-2;
  std::vector<double> losses;
  learn::Hooks hooks;
  hooks.on_epoch = [&](const learn::EpochReport& report, const float*) {
    losses.push_back(report.losses.at("loss"));
    return learn::EpochDecision{};
  };
  // Half the squared distance of all outputs from 1.
  hooks.custom_loss = [](const float* u, const std::int32_t*, std::int64_t count, std::int64_t width, double progress,
                         float* gradient) {
    EXPECT_GE(progress, 0.0);
    EXPECT_LT(progress, 1.0);
    double sum = 0;
    for (std::int64_t i = 0; i < count * width; ++i) {
      gradient[i] = u[i] - 1.0f;
      sum += 0.5 * gradient[i] * gradient[i];
    }
    return sum;
  };
  for (const std::vector<std::int64_t>& prefixes : {std::vector<std::int64_t>{}, std::vector<std::int64_t>{3, 7}}) {
    settings.prefixes = prefixes;
    losses.clear();
    learn::train(settings, rows.view(), hooks);
    EXPECT_LT(losses.back(), 0.8 * losses.front());
  }
  hooks.custom_loss = nullptr;
  EXPECT_THROW(learn::train(settings, rows.view(), hooks), std::invalid_argument);
}

TEST(LearnTowers, NumberMustBeTheObjectives) {
  const Rows rows;
  const learn::Settings settings = settings_for("csq", 1);
  EXPECT_THROW(learn::train(settings, rows.view(2), {.on_epoch = go_on}), std::invalid_argument);
}
