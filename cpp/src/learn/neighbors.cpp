// Objective "neighbors": codes whose similarities rank a batch as the float vectors do. No labels.
//
//   L = mean_i KL( softmax_j(z_i.z_j / tau + bias_j) || softmax_j(2 e^s hb_i.hb_j / b) ),  j != i
//       + balance * mean_k (mean_i u_ik)^2
//   hb = u + a (sign(u) - u), the sign straight-through: its gradient is taken as 1
//
// over all rows i of the batch, with gradients to both sides of hb_i.hb_j. s is learned with its own learning
// rate; a goes linearly from ste_start to ste_end during the first ste_anneal of the training.
//
// Sources: the KL between neighbour distributions is that of stochastic neighbour embedding (Hinton & Roweis,
// 2002) with codes in place of coordinates; the straight-through sign is Bengio et al., 2013.
#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "divergence.hpp"
#include "matrix_product.hpp"
#include "objective.hpp"
#include "straight_through.hpp"

namespace simskip::learn {
namespace {

constexpr std::int64_t rows_per_task = 32;

class Neighbors : public Objective {
 public:
  Neighbors(const Options& options, const ObjectiveContext& context)
      : tau_(options.at("tau")),
        balance_(options.at("balance")),
        ste_start_(options.at("ste_start")),
        ste_end_(options.at("ste_end")),
        ste_anneal_(options.at("ste_anneal")),
        scale_rate_(options.at("scale_learning_rate") / context.learning_rate),
        log_scale_(static_cast<float>(std::log(options.at("scale") / 2.0))) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const std::int64_t n = u.size(0), n_bits = u.size(1);
    const double share = ste_anneal_ > 0 ? std::min(1.0, batch.progress / ste_anneal_) : 1.0;
    const double a = ste_start_ + (ste_end_ - ste_start_) * share;
    if (!target_.defined() || target_.size(0) != n) {
      target_ = at::empty({n, n}, at::kFloat);
      logits_ = at::empty({n, n}, at::kFloat);
      gradient_ = at::empty({n, n_bits}, at::kFloat);
      rows_.resize(static_cast<std::size_t>(n));
    }
    const at::Tensor bias = batch.bias.defined() ? batch.bias / tau_ : batch.bias;
    multiply(target_, batch.inputs, batch.inputs.t(), bias, 1.0 / tau_);

    straight_through(code_, u, a);
    const double scale = 2.0 * std::exp(static_cast<double>(log_scale_)) / static_cast<double>(n_bits);
    multiply(logits_, code_, code_.t(), {}, scale);

    // The logits become their gradient, row by row; sums over rows are taken in one order, whatever the threads.
    float* target = target_.data_ptr<float>();
    float* logits = logits_.data_ptr<float>();
    at::parallel_for(0, n, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        rows_[static_cast<std::size_t>(i)] =
            diverge(target + i * n, logits + i * n, n, i, 1.0f / static_cast<float>(n));
    });
    double divergence = 0.0, slope = 0.0;
    for (const Divergence& row : rows_) {
      divergence += row.value;
      slope += row.slope;
    }
    divergence /= static_cast<double>(n);
    log_scale_gradient_ = static_cast<float>(slope);
    code_.mul_(scale);
    multiply(gradient_, logits_, code_);
    multiply_add(gradient_, logits_.t(), code_);

    Evaluation result;
    const at::Tensor mean = u.mean(0);
    const double balance = mean.square().mean().item<double>();
    gradient_.add_(mean, balance_ * 2.0 / static_cast<double>(n * n_bits));
    result.gradient = gradient_;
    result.loss = divergence + balance_ * balance;
    result.parts = {{"divergence", divergence}, {"balance", balance}, {"scale", scale * static_cast<double>(n_bits)}};
    return result;
  }

  std::vector<Parameter> parameters() override { return {{&log_scale_, &log_scale_gradient_, 1, scale_rate_, false}}; }

 private:
  double tau_, balance_, ste_start_, ste_end_, ste_anneal_, scale_rate_;
  float log_scale_;
  float log_scale_gradient_ = 0.0f;
  at::Tensor target_, logits_;  // (n, n)
  at::Tensor code_, gradient_;  // (n, n_bits)
  std::vector<Divergence> rows_;
};

}  // namespace

const ObjectiveEntry& neighbors_objective() {
  static const ObjectiveEntry entry{
      {"neighbors",
       "mean_i KL(softmax_j(z_i.z_j / tau) || softmax_j(2 e^s hb_i.hb_j / b)) + balance mean_k (mean_i u_ik)^2",
       "after Hinton & Roweis, Stochastic neighbor embedding (2002); straight-through sign: Bengio et al. (2013)",
       Supervision::neighbors,
       Batches::neighbors,
       1,
       {{"tau", 0.02},
        {"balance", 0.1},
        {"ste_start", 0.5},
        {"ste_end", 1.0},
        {"ste_anneal", 0.8},
        {"scale_learning_rate", 1e-2},
        {"scale", 10.0}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<Neighbors>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
