#include "simskip/learn/trainer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "network.hpp"
#include "objective.hpp"
#include "optimizer.hpp"
#include "random.hpp"
#include "sampler.hpp"
#include "schedule.hpp"

namespace simskip::learn {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto polling_interval = std::chrono::milliseconds(50);
constexpr std::int64_t evaluation_block = 4096;
constexpr std::uint64_t noise_stream = 1u << 20;  // past the streams of any layer

// torch's thread count for the life of this object. torch keeps it per calling thread and per process: the
// user's own torch code must find it as it was.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(at::get_num_threads()) { set(threads); }
  ~ThreadCount() { set(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  static void set(int threads) {
    if (at::get_num_threads() != threads) at::set_num_threads(threads);
  }
  int before_;
};

void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

void check(const Settings& settings, const TrainingSet& data) {
  const ObjectiveInfo& objective = find_objective(settings.objective).info;
  require(data.inputs && data.n > 0 && data.d > 0 && data.rows && data.n_rows >= 2, "training needs two rows or more");
  require(settings.network.n_bits >= 1, "n_bits must be at least 1");
  require(settings.epochs >= 1 && settings.steps_per_epoch >= 0, "epochs must be at least 1");
  require(settings.batch_size >= 2, "batch_size must be at least 2");
  require(settings.threads >= 1, "threads must be at least 1");
  require(settings.learning_rate > 0, "learning_rate must be positive");
  for (const std::int64_t width : settings.network.hidden) require(width >= 1, "hidden widths must be at least 1");
  for (const double p : {settings.network.dropout, settings.network.input_dropout})
    require(p >= 0 && p < 1, "dropout must lie in [0, 1)");
  const auto in_range = [](const std::int32_t* values, std::int64_t count, std::int64_t end) {
    return std::all_of(values, values + count, [end](std::int32_t v) { return v >= 0 && v < end; });
  };
  require(in_range(data.rows, data.n_rows, data.n), "rows must be row numbers of inputs");
  require(in_range(data.evaluation_rows, data.n_evaluation, data.n), "evaluation_rows must be row numbers of inputs");
  if (objective.needs_labels) {
    require(data.labels && data.n_classes >= 1, "this objective needs labels");
    require(in_range(data.labels, data.n, data.n_classes), "labels must lie in [0, n_classes)");
  }
  if (objective.needs_neighbors) {
    require(data.anchors && data.neighbors && data.n_anchors >= 1 && data.m >= 1, "this objective needs neighbors");
    require(settings.anchors >= 1 && settings.neighbors_per_anchor >= 0, "anchors must be at least 1");
    require(in_range(data.anchors, data.n_anchors, data.n), "anchors must be row numbers of inputs");
    require(in_range(data.neighbors, data.n_anchors * data.m, data.n), "neighbors must be row numbers of inputs");
  }
  require(!data.residual_weight == !data.residual_bias, "the residual path needs weight and bias");
}

// Copies rows of the caller's matrix, scaled, into a tensor of the batch's size.
void gather(const TrainingSet& data, const std::int32_t* rows, std::int64_t n, at::Tensor& out) {
  if (!out.defined() || out.size(0) != n) out = at::empty({n, data.d}, at::kFloat);
  float* values = out.data_ptr<float>();
  at::parallel_for(0, n, std::max<std::int64_t>(1, (1 << 15) / data.d), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* in = data.inputs + rows[i] * data.d;
      const float scale = data.row_scale ? data.row_scale[rows[i]] : 1.0f;
      float* row = values + i * data.d;
      for (std::int64_t j = 0; j < data.d; ++j) row[j] = in[j] * scale;
    }
  });
}

class Training {
 public:
  Training(const Settings& settings, const TrainingSet& data, const OnEpoch& on_epoch, const Interrupted& interrupted)
      : settings_(settings),
        data_(data),
        on_epoch_(on_epoch),
        interrupted_(interrupted),
        network_(settings.network, data, settings.seed),
        objective_(make_objective(settings.objective, settings.objective_options,
                                  {settings.network.n_bits, data.n_classes, settings.learning_rate, settings.seed})),
        sampler_(make_sampler(settings, data)),
        optimizer_(settings.optimizer, settings.weight_decay, parameters()) {
    steps_per_epoch_ = settings.steps_per_epoch > 0 ? settings.steps_per_epoch
                                                    : std::max<std::int64_t>(1, data.n_rows / sampler_->batch_size());
    total_ = settings.epochs * steps_per_epoch_;
    outputs_.resize(static_cast<std::size_t>(data.n_evaluation * settings.network.n_bits));
  }

  Outcome run() {
    Outcome outcome;
    std::optional<double> best;
    std::int64_t step = 0;
    for (std::int64_t epoch = 1; epoch <= settings_.epochs; ++epoch) {
      EpochReport report;
      report.epoch = epoch;
      for (std::int64_t i = 0; i < steps_per_epoch_; ++i, ++step) {
        if (poll()) return stopped(outcome, best);
        report.learning_rate = settings_.learning_rate * schedule_factor(settings_.schedule, step, total_);
        train_step(step, report);
      }
      for (auto& [name, sum] : report.losses) sum /= static_cast<double>(steps_per_epoch_);
      report.step = step;
      if (!project_evaluation_rows()) return stopped(outcome, best);
      report.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
      const EpochDecision decision = on_epoch_(report, outputs_.data());
      if (decision.interrupted) return stopped(outcome, best);
      outcome.epochs_done = epoch;
      if (!decision.metric || !best || *decision.metric > *best) {
        best = decision.metric;
        outcome.best_epoch = epoch;
        outcome.network = network_.exported();
      }
      const bool out_of_patience =
          decision.metric && settings_.patience > 0 && epoch - outcome.best_epoch >= settings_.patience;
      if (decision.stop || out_of_patience) {
        outcome.stopped_early = true;
        break;
      }
    }
    return outcome;
  }

 private:
  std::vector<Parameter> parameters() {
    std::vector<Parameter> all = network_.parameters();
    for (const Parameter& p : objective_->parameters()) all.push_back(p);
    return all;
  }

  bool poll() {
    const auto now = Clock::now();
    if (now - last_poll_ < polling_interval) return false;
    last_poll_ = now;
    return interrupted_ && interrupted_();
  }

  // Without a metric the latest weights are the best, those of the unfinished epoch included.
  Outcome stopped(Outcome& outcome, const std::optional<double>& best) {
    outcome.interrupted = true;
    if (outcome.epochs_done > 0 && !best) outcome.network = network_.exported();
    return std::move(outcome);
  }

  void train_step(std::int64_t step, EpochReport& report) {
    sampler_->next(rows_);
    const auto n = static_cast<std::int64_t>(rows_.size());
    gather(data_, rows_.data(), n, batch_.inputs);
    at::Tensor seen = batch_.inputs;
    if (data_.noise) {
      if (!noisy_.defined()) noisy_ = at::empty_like(batch_.inputs);
      noisy_.copy_(batch_.inputs);
      add_noise(noisy_.data_ptr<float>(), n, data_.d, data_.noise,
                stream_key(settings_.seed, noise_stream, static_cast<std::uint64_t>(step)));
      seen = noisy_;
    }
    if (data_.row_bias) {
      if (!batch_.bias.defined()) batch_.bias = at::empty({n}, at::kFloat);
      for (std::int64_t i = 0; i < n; ++i)
        batch_.bias.data_ptr<float>()[i] = data_.row_bias[rows_[static_cast<std::size_t>(i)]];
    }
    if (data_.labels) {
      if (!batch_.labels.defined()) batch_.labels = at::empty({n}, at::kLong);
      for (std::int64_t i = 0; i < n; ++i)
        batch_.labels.data_ptr<std::int64_t>()[i] = data_.labels[rows_[static_cast<std::size_t>(i)]];
    }
    batch_.progress = static_cast<double>(step) / static_cast<double>(total_);
    const at::Tensor& u = network_.forward(seen, true, static_cast<std::uint64_t>(step));
    const Evaluation evaluation = objective_->evaluate(u, batch_);
    if (!std::isfinite(evaluation.loss))
      throw std::runtime_error("the loss became " + std::to_string(evaluation.loss) + " at step " +
                               std::to_string(step + 1) + "; a smaller learning_rate helps");
    network_.backward(evaluation.gradient);
    optimizer_.step(report.learning_rate);
    report.losses["loss"] += evaluation.loss;
    for (const auto& [name, value] : evaluation.parts) report.losses[name] += value;
  }

  bool project_evaluation_rows() {
    for (std::int64_t begin = 0; begin < data_.n_evaluation; begin += evaluation_block) {
      if (poll()) return false;
      const std::int64_t n = std::min(evaluation_block, data_.n_evaluation - begin);
      gather(data_, data_.evaluation_rows + begin, n, evaluated_);
      const at::Tensor& u = network_.forward(evaluated_, false);
      std::copy_n(u.data_ptr<float>(), u.numel(), outputs_.data() + begin * settings_.network.n_bits);
    }
    return true;
  }

  Settings settings_;
  TrainingSet data_;
  const OnEpoch& on_epoch_;
  const Interrupted& interrupted_;
  Network network_;
  std::unique_ptr<Objective> objective_;
  std::unique_ptr<Sampler> sampler_;
  Optimizer optimizer_;
  std::int64_t steps_per_epoch_ = 0, total_ = 0;
  Clock::time_point start_ = Clock::now(), last_poll_ = Clock::now();
  std::vector<std::int32_t> rows_;
  Batch batch_;
  at::Tensor noisy_, evaluated_;
  std::vector<float> outputs_;
};

}  // namespace

Outcome train(const Settings& settings, const TrainingSet& data, const OnEpoch& on_epoch,
              const Interrupted& interrupted) {
  check(settings, data);
  // Every gradient is written out: torch must not record the operations.
  c10::InferenceMode no_autograd;
  ThreadCount threads(settings.threads);
  return Training(settings, data, on_epoch, interrupted).run();
}

std::string torch_version() { return TORCH_VERSION; }

}  // namespace simskip::learn
