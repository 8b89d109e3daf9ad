#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <set>

#include "objective.hpp"
#include "random.hpp"
#include "sampler.hpp"
#include "schedule.hpp"
#include "simskip/learn/trainer.hpp"

namespace learn = simskip::learn;

namespace {

// Clusters of 10 rows; the neighbours of a row are the others of its cluster.
struct Clusters {
  static constexpr int n = 300, d = 12, size = 10;
  std::vector<float> inputs;
  std::vector<std::int32_t> rows, labels, neighbors, evaluation;

  Clusters() {
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    std::vector<float> centre(d);
    for (int i = 0; i < n; ++i) {
      if (i % size == 0)
        for (float& v : centre) v = normal(engine);
      for (float c : centre) inputs.push_back((c + 0.2f * normal(engine)) / 3.5f);
      rows.push_back(i);
      labels.push_back(i / size % 5);
      for (int j = 1; j < size; ++j) neighbors.push_back(i / size * size + (i + j) % size);
    }
    evaluation = {0, 5, 9};
  }

  learn::TrainingSet view() const {
    learn::TrainingSet data;
    learn::Tower tower;
    tower.inputs = inputs.data();
    tower.n = n;
    tower.d = d;
    data.towers = {tower};
    data.rows = data.anchors = rows.data();
    data.n_rows = data.n_anchors = n;
    data.labels = labels.data();
    data.n_classes = 5;
    data.neighbors = neighbors.data();
    data.m = size - 1;
    data.evaluation_rows = evaluation.data();
    data.n_evaluation = 3;
    return data;
  }
};

learn::Settings settings_for(const std::string& objective) {
  learn::Settings settings;
  settings.network.n_bits = 16;
  settings.network.hidden = {32};
  settings.network.dropout = 0.1;
  settings.objective = objective;
  settings.objective_options = {};
  if (objective == "neighbors") settings.objective_options["tau"] = 0.1;
  settings.epochs = 6;
  settings.steps_per_epoch = 30;
  settings.batch_size = 96;
  settings.anchors = 6;
  settings.neighbors_per_anchor = 4;
  settings.learning_rate = 5e-3;
  settings.seed = 11;
  return settings;
}

struct TestRun {
  learn::Outcome outcome;
  std::vector<double> losses;
};

TestRun run(const learn::Settings& settings, const learn::TrainingSet& data, const std::vector<double>& metrics = {}) {
  TestRun result;
  result.outcome =
      learn::train(settings, data, {.on_epoch = [&](const learn::EpochReport& report, const float* outputs) {
                     result.losses.push_back(report.losses.at("loss"));
                     EXPECT_TRUE(std::isfinite(outputs[0]));
                     learn::EpochDecision decision;
                     if (!metrics.empty()) decision.metric = metrics.at(static_cast<std::size_t>(report.epoch - 1));
                     return decision;
                   }});
  return result;
}

}  // namespace

TEST(LearnTrainer, EveryObjectiveLearns) {
  const Clusters clusters;
  for (const std::string objective : {"neighbors", "csq", "dtsh"}) {
    const TestRun result = run(settings_for(objective), clusters.view());
    ASSERT_EQ(result.losses.size(), 6u);
    EXPECT_LT(result.losses.back(), 0.8 * result.losses.front()) << objective;
    EXPECT_EQ(result.outcome.best_epoch, 6);  // without a metric the last one
  }
}

TEST(LearnTrainer, SameSeedSameWeights) {
  const Clusters clusters;
  for (const std::string objective : {"neighbors", "csq", "dtsh"}) {
    learn::Settings settings = settings_for(objective);
    settings.epochs = 2;
    settings.network.batch_norm = objective == "csq";
    const learn::DenseNetwork first = run(settings, clusters.view()).outcome.networks.at(0);
    const learn::DenseNetwork again = run(settings, clusters.view()).outcome.networks.at(0);
    settings.seed = 12;
    const learn::DenseNetwork other = run(settings, clusters.view()).outcome.networks.at(0);
    for (std::size_t l = 0; l < first.layers.size(); ++l) {
      EXPECT_EQ(first.layers[l].weight, again.layers[l].weight) << objective;
      EXPECT_EQ(first.layers[l].bias, again.layers[l].bias) << objective;
    }
    EXPECT_NE(first.layers[0].weight, other.layers[0].weight) << objective;
  }
}

TEST(LearnTrainer, KeepsTheBestEpochAndStopsWhenOutOfPatience) {
  const Clusters clusters;
  learn::Settings settings = settings_for("csq");
  settings.patience = 2;
  const TestRun result = run(settings, clusters.view(), {0.1, 0.5, 0.4, 0.5, 0.9, 0.9});
  EXPECT_EQ(result.outcome.best_epoch, 2);
  EXPECT_EQ(result.outcome.epochs_done, 4);
  EXPECT_TRUE(result.outcome.stopped_early);
  settings.epochs = 2;
  settings.patience = 0;
  // The schedule's length is part of the training, so the reference runs the same number of epochs.
  settings.schedule = "constant";
  const TestRun best = run(settings, clusters.view(), {0.9, 0.1});
  settings.epochs = 1;
  EXPECT_EQ(best.outcome.networks.at(0).layers[0].weight,
            run(settings, clusters.view()).outcome.networks.at(0).layers[0].weight);
}

TEST(LearnTrainer, InterruptionKeepsFinishedEpochs) {
  const Clusters clusters;
  learn::Settings settings = settings_for("csq");
  settings.epochs = 1000;
  settings.steps_per_epoch = 2000;
  std::int64_t epochs = 0;
  const auto on_epoch = [&](const learn::EpochReport&, const float*) {
    ++epochs;
    return learn::EpochDecision{};
  };
  const learn::Outcome none =
      learn::train(settings, clusters.view(), {.on_epoch = on_epoch, .interrupted = [] { return true; }});
  EXPECT_TRUE(none.interrupted);
  EXPECT_EQ(none.best_epoch, 0);
  EXPECT_TRUE(none.networks.empty());
  settings.steps_per_epoch = 2;
  const learn::Outcome some =
      learn::train(settings, clusters.view(), {.on_epoch = on_epoch, .interrupted = [&] { return epochs > 0; }});
  EXPECT_TRUE(some.interrupted);
  EXPECT_GE(some.best_epoch, 1);
  EXPECT_EQ(some.networks.at(0).layers.size(), 2u);
}

TEST(LearnTrainer, BadInputThrows) {
  const Clusters clusters;
  const auto expect_throw = [&](auto change) {
    learn::Settings settings = settings_for("neighbors");
    learn::TrainingSet data = clusters.view();
    change(settings, data);
    EXPECT_THROW(run(settings, data), std::invalid_argument);
  };
  using S = learn::Settings;
  using D = learn::TrainingSet;
  expect_throw([](S& s, D&) { s.objective = "nearest"; });
  expect_throw([](S& s, D&) { s.optimizer = "lbfgs"; });
  expect_throw([](S& s, D&) { s.schedule = "step"; });
  expect_throw([](S& s, D&) { s.network.dropout = 1.0; });
  expect_throw([](S& s, D&) { s.batch_size = 1; });
  expect_throw([](S&, D& d) { d.neighbors = nullptr; });
  expect_throw([](S& s, D& d) { s.objective = "csq", d.labels = nullptr; });
  expect_throw([](S& s, D& d) { s.objective = "csq", d.n_classes = 4; });
  expect_throw([](S&, D& d) { d.towers[0].n = 200; });  // rows past the end
}

TEST(LearnSampler, BatchesHaveNoRepeatedRowsAndHoldNeighbors) {
  const Clusters clusters;
  for (const std::string objective : {"neighbors", "csq", "dtsh"})
    for (const std::int64_t size : {2, 96, 300, 5000}) {
      learn::Settings settings = settings_for(objective);
      settings.batch_size = size;
      const auto sampler =
          learn::make_sampler(learn::find_objective(settings.objective).info.batches, settings, clusters.view());
      std::vector<std::int32_t> rows;
      std::set<std::int32_t> seen;
      for (int i = 0; i < 60; ++i) {
        sampler->next(rows);
        ASSERT_EQ(static_cast<std::int64_t>(rows.size()), std::min<std::int64_t>(size, Clusters::n));
        const std::set<std::int32_t> different(rows.begin(), rows.end());
        ASSERT_EQ(different.size(), rows.size()) << objective;
        seen.insert(rows.begin(), rows.end());
        if (objective == "neighbors" && size == 96) {
          int same = 0;
          for (int k = 1; k < 5; ++k)
            same += rows[0] / Clusters::size == rows[static_cast<std::size_t>(k)] / Clusters::size;
          EXPECT_EQ(same, 4);
        }
      }
      if (size >= 96) {
        EXPECT_EQ(seen.size(), static_cast<std::size_t>(Clusters::n)) << objective;
      }
    }
}

TEST(LearnSampler, DtshBatchesBalanceClasses) {
  const Clusters clusters;
  learn::Settings settings = settings_for("dtsh");
  settings.batch_size = 50;
  const auto sampler =
      learn::make_sampler(learn::find_objective(settings.objective).info.batches, settings, clusters.view());
  std::vector<std::int32_t> rows;
  sampler->next(rows);
  std::vector<int> counts(5);
  for (const std::int32_t row : rows)
    ++counts[static_cast<std::size_t>(clusters.labels[static_cast<std::size_t>(row)])];
  EXPECT_EQ(counts, (std::vector<int>{10, 10, 10, 10, 10}));
}

TEST(LearnSchedule, BeginsAndEndsWhereItSays) {
  EXPECT_DOUBLE_EQ(learn::schedule_factor("constant", 70, 100), 1.0);
  EXPECT_DOUBLE_EQ(learn::schedule_factor("cosine", 0, 100), 1.0);
  EXPECT_NEAR(learn::schedule_factor("cosine", 50, 100), 0.5, 1e-12);
  EXPECT_NEAR(learn::schedule_factor("onecycle", 0, 100), 0.04, 1e-12);
  EXPECT_NEAR(learn::schedule_factor("onecycle", 30, 100), 1.0, 1e-12);
  EXPECT_LT(learn::schedule_factor("onecycle", 99, 100), 0.01);
}

TEST(LearnRandom, NoiseHasMeanZeroAndItsDeviation) {
  constexpr std::int64_t n = 2000, d = 8;
  std::vector<float> values(n * d), deviation(d, 2.0f);
  learn::add_noise(values.data(), n, d, deviation.data(), learn::stream_key(1, 2, 3));
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / (n * d);
  double square = 0;
  for (const float v : values) square += v * v;
  EXPECT_NEAR(mean, 0.0, 0.08);  // 5 standard errors
  EXPECT_NEAR(square / (n * d), 4.0, 0.2);
}
