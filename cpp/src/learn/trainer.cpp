#include "simskip/learn/trainer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "custom.hpp"
#include "gather.hpp"
#include "network.hpp"
#include "objective.hpp"
#include "optimizer.hpp"
#include "prefix_loss.hpp"
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

const ObjectiveInfo& info_of(const Settings& settings, const Hooks& hooks) {
  static const ObjectiveInfo custom{"custom", "the user's", "the user", Supervision::none, Batches::pass, 1, {}};
  if (settings.objective == custom.name && hooks.custom_loss) return custom;
  return find_objective(settings.objective).info;
}

void check_settings(const Settings& settings) {
  const NetworkSettings& network = settings.network;
  require(network.n_bits >= 1, "n_bits must be at least 1");
  require(settings.epochs >= 1 && settings.steps_per_epoch >= 0, "epochs must be at least 1");
  require(settings.batch_size >= 2, "batch_size must be at least 2");
  require(settings.threads >= 1, "threads must be at least 1");
  require(settings.learning_rate > 0, "learning_rate must be positive");
  for (const std::int64_t width : network.hidden) require(width >= 1, "hidden widths must be at least 1");
  for (const double p : {network.dropout, network.input_dropout})
    require(p >= 0 && p < 1, "dropout must lie in [0, 1)");
  std::int64_t before = 0;
  for (const std::int64_t width : settings.prefixes) {
    require(width > before && width < network.n_bits, "prefixes must ascend and lie below n_bits");
    before = width;
  }
}

void check_data(const Settings& settings, const ObjectiveInfo& objective, const TrainingSet& data) {
  require(static_cast<std::int64_t>(data.towers.size()) == objective.towers, "this objective has other towers");
  const std::int64_t n = data.towers.front().n;
  for (const Tower& tower : data.towers) {
    require(tower.inputs && tower.n > 0 && tower.d > 0, "training needs inputs");
    require(tower.n == n, "the towers must have the same rows");
    require(!tower.residual_weight == !tower.residual_bias, "the residual path needs weight and bias");
  }
  require(data.rows && data.n_rows >= 2, "training needs two rows or more");
  const auto in_range = [](const std::int32_t* values, std::int64_t count, std::int64_t end) {
    return std::all_of(values, values + count, [end](std::int32_t v) { return v >= 0 && v < end; });
  };
  require(in_range(data.rows, data.n_rows, n), "rows must be row numbers of inputs");
  require(in_range(data.evaluation_rows, data.n_evaluation, n), "evaluation_rows must be row numbers of inputs");
  if (data.labels)
    require(std::all_of(data.rows, data.rows + data.n_rows,
                        [&](std::int32_t row) { return data.labels[row] >= 0 && data.labels[row] < data.n_classes; }),
            "labels of training rows must lie in [0, n_classes)");
  if (objective.supervision == Supervision::labels)
    require(data.labels && data.n_classes >= 1, "this objective needs labels");
  if (objective.supervision == Supervision::targets)
    require((data.labels || data.targets) && data.n_classes >= 1, "this objective needs labels or targets");
  if (objective.supervision == Supervision::neighbors) {
    require(data.anchors && data.neighbors && data.n_anchors >= 1 && data.m >= 1, "this objective needs neighbors");
    require(settings.anchors >= 1 && settings.neighbors_per_anchor >= 0, "anchors must be at least 1");
    require(in_range(data.anchors, data.n_anchors, n), "anchors must be row numbers of inputs");
    require(in_range(data.neighbors, data.n_anchors * data.m, n), "neighbors must be row numbers of inputs");
  }
}

class Training {
 public:
  Training(const Settings& settings, const ObjectiveInfo& objective, const TrainingSet& data, const Hooks& hooks)
      : settings_(settings),
        data_(data),
        hooks_(hooks),
        networks_(make_networks()),
        loss_(make_loss()),
        sampler_(make_sampler(objective.batches, settings, data)),
        optimizer_(settings.optimizer, settings.weight_decay, parameters()),
        seen_(data.towers.size()) {
    steps_per_epoch_ = settings.steps_per_epoch > 0 ? settings.steps_per_epoch
                                                    : std::max<std::int64_t>(1, data.n_rows / sampler_->batch_size());
    total_ = settings.epochs * steps_per_epoch_;
    outputs_.resize(data.towers.size() * static_cast<std::size_t>(data.n_evaluation * settings.network.n_bits));
  }

  Outcome run(const Checkpoint* resume) {
    if (resume) restore(*resume);
    while (outcome_.epochs_done < settings_.epochs && !outcome_.stopped_early) {
      EpochReport report;
      report.epoch = outcome_.epochs_done + 1;
      for (std::int64_t i = 0; i < steps_per_epoch_; ++i, ++step_) {
        if (poll()) return stopped();
        report.learning_rate = settings_.learning_rate * schedule_factor(settings_.schedule, step_, total_);
        train_step(report);
      }
      for (auto& [name, sum] : report.losses) sum /= static_cast<double>(steps_per_epoch_);
      report.step = step_;
      if (!project_evaluation_rows()) return stopped();
      report.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
      const EpochDecision decision = hooks_.on_epoch(report, outputs_.data());
      if (decision.interrupted) return stopped();
      outcome_.epochs_done = report.epoch;
      if (!decision.metric || !best_ || *decision.metric > *best_) {
        best_ = decision.metric;
        outcome_.best_epoch = report.epoch;
        best_states_ = states();
      }
      if (hooks_.on_checkpoint) hooks_.on_checkpoint(checkpoint());
      outcome_.stopped_early = decision.stop || out_of_patience();
    }
    return finished();
  }

 private:
  std::vector<Network> make_networks() const {
    std::vector<Network> networks;
    for (std::size_t t = 0; t < data_.towers.size(); ++t)
      networks.emplace_back(settings_.network, data_.towers[t], settings_.seed + t);
    return networks;
  }

  PrefixLoss make_loss() const {
    std::vector<std::int64_t> widths = settings_.prefixes;
    widths.push_back(settings_.network.n_bits);
    std::vector<std::unique_ptr<Objective>> objectives;
    for (const std::int64_t width : widths)
      objectives.push_back(hooks_.custom_loss ? make_custom_objective(hooks_.custom_loss)
                                              : make_objective(settings_.objective, settings_.objective_options,
                                                               {width, settings_.network.n_bits, data_.towers.front().d,
                                                                data_.n_classes, settings_.learning_rate,
                                                                settings_.seed, settings_.network.output == "tanh"}));
    return {std::move(widths), std::move(objectives)};
  }

  std::vector<Parameter> parameters() {
    std::vector<Parameter> all;
    for (Network& network : networks_)
      for (const Parameter& p : network.parameters()) all.push_back(p);
    for (const Parameter& p : loss_.parameters()) all.push_back(p);
    return all;
  }

  std::vector<std::vector<float>> states() const {
    std::vector<std::vector<float>> all;
    for (const Network& network : networks_) all.push_back(network.state());
    return all;
  }

  Checkpoint checkpoint() {
    Checkpoint now{outcome_.epochs_done, outcome_.best_epoch, best_, states()};
    for (auto& tensor : optimizer_.state()) now.tensors.push_back(std::move(tensor));
    for (const Parameter& p : loss_.parameters()) now.tensors.emplace_back(p.value, p.value + p.size);
    now.tensors.insert(now.tensors.end(), best_states_.begin(), best_states_.end());
    return now;
  }

  void restore(const Checkpoint& from) {
    const std::size_t n_towers = networks_.size(), n_optimizer = optimizer_.state().size();
    const std::vector<Parameter> own = loss_.parameters();
    require(from.epoch >= 1 && from.epoch <= settings_.epochs && from.best_epoch >= 1 && from.best_epoch <= from.epoch,
            "the checkpoint is of a training with other epochs");
    require(from.tensors.size() == 2 * n_towers + n_optimizer + own.size(), "the checkpoint is of another training");
    auto next = from.tensors.begin();
    for (Network& network : networks_) network.set_state(*next++);
    optimizer_.set_state({next, next + static_cast<std::ptrdiff_t>(n_optimizer)});
    next += static_cast<std::ptrdiff_t>(n_optimizer);
    for (const Parameter& p : own) {
      require(static_cast<std::int64_t>(next->size()) == p.size, "the checkpoint is of another objective");
      std::copy(next->begin(), next->end(), p.value);
      ++next;
    }
    best_states_.assign(next, from.tensors.end());
    best_ = from.best;
    outcome_.best_epoch = from.best_epoch;
    outcome_.epochs_done = from.epoch;
    outcome_.stopped_early = out_of_patience();
    // Dropout and noise are functions of the step; the sampler is brought to where it was by drawing again.
    for (; step_ < from.epoch * steps_per_epoch_; ++step_) sampler_->next(batch_.rows);
  }

  bool out_of_patience() const {
    return best_ && settings_.patience > 0 && outcome_.epochs_done - outcome_.best_epoch >= settings_.patience;
  }

  bool poll() {
    const auto now = Clock::now();
    if (now - last_poll_ < polling_interval) return false;
    last_poll_ = now;
    return hooks_.interrupted && hooks_.interrupted();
  }

  // Without a metric the latest weights are the best, those of the unfinished epoch included.
  Outcome stopped() {
    outcome_.interrupted = true;
    if (outcome_.epochs_done > 0 && !best_) best_states_ = states();
    return finished();
  }

  Outcome finished() {
    for (std::size_t t = 0; t < best_states_.size(); ++t) {
      networks_[t].set_state(best_states_[t]);
      outcome_.networks.push_back(networks_[t].exported());
    }
    const at::Tensor centres = loss_.centres();
    if (centres.defined())
      for (std::int64_t c = 0; c < centres.size(0); ++c) {
        const float* row = centres.data_ptr<float>() + c * centres.size(1);
        outcome_.centres.emplace_back(row, row + centres.size(1));
      }
    return std::move(outcome_);
  }

  void train_step(EpochReport& report) {
    sampler_->next(batch_.rows);
    const auto n = static_cast<std::int64_t>(batch_.rows.size());
    gather_batch(n);
    const at::Tensor& u = forward(n);
    const Evaluation evaluation = loss_.evaluate(u, batch_);
    if (!std::isfinite(evaluation.loss))
      throw std::runtime_error("the loss became " + std::to_string(evaluation.loss) + " at step " +
                               std::to_string(step_ + 1) + "; a smaller learning_rate helps");
    for (std::size_t t = 0; t < networks_.size(); ++t)
      networks_[t].backward(evaluation.gradient.narrow(0, static_cast<std::int64_t>(t) * n, n));
    optimizer_.step(report.learning_rate);
    report.losses["loss"] += evaluation.loss;
    for (const auto& [name, value] : evaluation.parts) report.losses[name] += value;
  }

  void gather_batch(std::int64_t n) {
    for (std::size_t t = 0; t < networks_.size(); ++t) gather_inputs(data_.towers[t], batch_.rows.data(), n, inputs(t));
    if (data_.row_bias) {
      if (!batch_.bias.defined()) batch_.bias = at::empty({n}, at::kFloat);
      gather_rows(data_.row_bias, 1, batch_.rows.data(), n, batch_.bias.data_ptr<float>());
    }
    if (data_.labels) {
      if (!batch_.labels.defined()) batch_.labels = at::empty({n}, at::kLong);
      gather_rows(data_.labels, 1, batch_.rows.data(), n, batch_.labels.data_ptr<std::int64_t>());
    }
    if (data_.targets) {
      if (!batch_.targets.defined()) batch_.targets = at::empty({n, data_.n_classes}, at::kFloat);
      gather_rows(data_.targets, data_.n_classes, batch_.rows.data(), n, batch_.targets.data_ptr<float>());
    }
    batch_.progress = static_cast<double>(step_) / static_cast<double>(total_);
  }

  at::Tensor& inputs(std::size_t tower) { return tower == 0 ? batch_.inputs : batch_.second_inputs; }

  const at::Tensor& forward(std::int64_t n) {
    for (std::size_t t = 0; t < networks_.size(); ++t) {
      const Tower& tower = data_.towers[t];
      at::Tensor& seen = seen_[t];
      const auto step = static_cast<std::uint64_t>(step_);
      if (tower.noise) {
        if (!seen.defined()) seen = at::empty_like(inputs(t));
        seen.copy_(inputs(t));
      } else {
        seen = inputs(t);
      }
      if (tower.noise)
        add_noise(seen.data_ptr<float>(), n, tower.d, tower.noise, stream_key(settings_.seed, noise_stream + t, step));
      const at::Tensor& u = networks_[t].forward(seen, true, step);
      if (networks_.size() == 1) return u;
      if (!stacked_.defined())
        stacked_ = at::empty({static_cast<std::int64_t>(networks_.size()) * n, settings_.network.n_bits}, at::kFloat);
      stacked_.narrow(0, static_cast<std::int64_t>(t) * n, n).copy_(u);
    }
    return stacked_;
  }

  bool project_evaluation_rows() {
    float* out = outputs_.data();
    for (std::size_t t = 0; t < networks_.size(); ++t)
      for (std::int64_t begin = 0; begin < data_.n_evaluation; begin += evaluation_block) {
        if (poll()) return false;
        const std::int64_t n = std::min(evaluation_block, data_.n_evaluation - begin);
        gather_inputs(data_.towers[t], data_.evaluation_rows + begin, n, evaluated_);
        const at::Tensor& u = networks_[t].forward(evaluated_, false);
        out = std::copy_n(u.data_ptr<float>(), u.numel(), out);
      }
    return true;
  }

  const Settings settings_;
  const TrainingSet data_;
  const Hooks& hooks_;
  std::vector<Network> networks_;
  PrefixLoss loss_;
  std::unique_ptr<Sampler> sampler_;
  Optimizer optimizer_;
  std::int64_t steps_per_epoch_ = 0, total_ = 0, step_ = 0;
  Clock::time_point start_ = Clock::now(), last_poll_ = Clock::now();
  Outcome outcome_;
  std::optional<double> best_;
  std::vector<std::vector<float>> best_states_;  // of best_epoch
  Batch batch_;
  std::vector<at::Tensor> seen_;  // what each network is shown: inputs with noise
  at::Tensor stacked_, evaluated_;
  std::vector<float> outputs_;
};

}  // namespace

Outcome train(const Settings& settings, const TrainingSet& data, const Hooks& hooks, const Checkpoint* resume) {
  const ObjectiveInfo& objective = info_of(settings, hooks);
  check_settings(settings);
  check_data(settings, objective, data);
  // Every gradient is written out: torch must not record the operations.
  c10::InferenceMode no_autograd;
  ThreadCount threads(settings.threads);
  return Training(settings, objective, data, hooks).run(resume);
}

std::string torch_version() { return TORCH_VERSION; }

}  // namespace simskip::learn
