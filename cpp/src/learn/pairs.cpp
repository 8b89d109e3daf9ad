// Objective "pairs": two networks, one code space. Row i of both is a pair; each shall find the other.
//
//   L = 1/2 mean_i KL(t_i || softmax_j(e^s ha_i.hb_j / b)) + 1/2 mean_i KL(t_i || softmax_j(e^s hb_i.ha_j / b))
//       + balance * mean_k ((mean_i a_ik)^2 + (mean_i b_ik)^2) / 2 + quantization * mean (1 - |u|)^2
//   t_i = (1 - soft) [i = j] + soft / 2 (softmax_j(x_i.x_j / tau_first) + softmax_j(z_i.z_j / tau_second))
//   h   = u + a (sign(u) - u), the sign straight-through: its gradient is taken as 1
//
// a, b are the outputs of the first and of the second network, x, z their inputs; the rest of the batch are the
// negatives. With soft = 0 the divergences are cross-entropies: the symmetric contrastive loss. With soft > 0 pairs
// that are alike on either side are no full negatives of each other. Rows that are equal on one side need no soft
// targets: they have one code there, and what their rows ask of it adds up to the mean of their targets. The scale
// e^s is learned with its own learning rate and held below max_scale; a goes linearly from ste_start to ste_end
// during the first ste_anneal of the training.
//
// Sources: the symmetric loss with a learned, bounded scale is that of Radford et al., Learning transferable visual
// models from natural language supervision, ICML 2021 (CLIP), with codes in place of vectors; targets softened by the
// similarity within each side: Gao et al., SoftCLIP, AAAI 2024; before them, for codes, the joint similarity of Su et
// al., Deep joint-semantics reconstructing hashing, ICCV 2019. The straight-through sign is Bengio et al., 2013.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "objective.hpp"

namespace simskip::learn {
namespace {

class Pairs : public Objective {
 public:
  Pairs(const Options& options, const ObjectiveContext& context)
      : soft_(options.at("soft")),
        tau_{options.at("tau_first"), options.at("tau_second")},
        balance_(options.at("balance")),
        quantization_(options.at("quantization")),
        ste_start_(options.at("ste_start")),
        ste_end_(options.at("ste_end")),
        ste_anneal_(options.at("ste_anneal")),
        scale_rate_(options.at("scale_learning_rate") / context.learning_rate) {
    if (!(soft_ >= 0 && soft_ <= 1)) throw std::invalid_argument("soft must lie in [0, 1]");
    if (!(tau_[0] > 0 && tau_[1] > 0)) throw std::invalid_argument("tau_first and tau_second must be positive");
    if (!(options.at("scale") > 0 && options.at("max_scale") >= options.at("scale")))
      throw std::invalid_argument("scale must be positive and at most max_scale");
    log_scale_ = static_cast<float>(std::log(options.at("scale")));
    max_log_scale_ = static_cast<float>(std::log(options.at("max_scale")));
  }

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const std::int64_t n = u.size(0) / 2, n_bits = u.size(1);
    allocate(n, n_bits);
    const double share = ste_anneal_ > 0 ? std::min(1.0, batch.progress / ste_anneal_) : 1.0;
    const double a = ste_start_ + (ste_end_ - ste_start_) * share;
    at::sign_out(code_, u);
    Evaluation result;
    const double quantization = add_quantization(u);
    if (a < 1.0) code_.mul_(a).add_(u, 1.0 - a);

    log_scale_ = std::min(log_scale_, max_log_scale_);
    const double factor = std::exp(static_cast<double>(log_scale_)) / static_cast<double>(n_bits);
    const at::Tensor first = code_.narrow(0, 0, n), second = code_.narrow(0, n, n);
    at::addmm_out(logits_, zero_, first, second.t(), 0, factor);
    set_target(batch);

    // Row i asks for its partner among the second side's rows, column i among the first's. `slope_` becomes
    // dL/dlogits = (softmax over rows - t + softmax over columns - t') / 2n.
    at::log_softmax_out(model_log_, logits_, 1);
    at::exp_out(slope_, model_log_);
    double contrast = divergence(model_log_, target_);
    at::log_softmax_out(model_log_, logits_, 0);
    contrast = (contrast + divergence(model_log_, target_.t())) / static_cast<double>(2 * n);
    slope_.add_(model_log_.exp_()).sub_(target_).sub_(target_.t()).div_(static_cast<double>(2 * n));
    log_scale_gradient_ = at::dot(slope_.view(-1), logits_.view(-1)).item<float>();

    at::Tensor first_gradient = gradient_.narrow(0, 0, n), second_gradient = gradient_.narrow(0, n, n);
    first_gradient.addmm_(slope_, second, 1, factor);
    second_gradient.addmm_(slope_.t(), first, 1, factor);

    double balance = 0.0;
    for (const std::int64_t begin : {std::int64_t{0}, n}) {
      const at::Tensor mean = u.narrow(0, begin, n).mean(0);
      balance += mean.square().mean().item<double>() / 2.0;
      gradient_.narrow(0, begin, n).add_(mean, balance_ / static_cast<double>(n * n_bits));
    }
    result.gradient = gradient_;
    result.loss = contrast + balance_ * balance + quantization_ * quantization;
    result.parts = {{"contrast", contrast},
                    {"balance", balance},
                    {"quantization", quantization},
                    {"scale", factor * static_cast<double>(n_bits)}};
    return result;
  }

  std::vector<Parameter> parameters() override { return {{&log_scale_, &log_scale_gradient_, 1, scale_rate_, false}}; }

 private:
  void allocate(std::int64_t n, std::int64_t n_bits) {
    if (logits_.defined() && logits_.size(0) == n) return;
    for (at::Tensor* square : {&logits_, &model_log_, &slope_}) *square = at::empty({n, n}, at::kFloat);
    for (at::Tensor* rows : {&code_, &gradient_}) *rows = at::empty({2 * n, n_bits}, at::kFloat);
    target_ = at::eye(n, at::kFloat);
    entropy_ = 0.0;
  }

  // Begins the gradient; `code_` holds the signs.
  double add_quantization(const at::Tensor& u) {
    const double count = static_cast<double>(u.numel());
    at::sub_out(gradient_, u, code_);
    const double value = gradient_.square().sum().item<double>() / count;
    gradient_.mul_(2.0 * quantization_ / count);
    return value;
  }

  void set_target(const Batch& batch) {
    if (soft_ == 0.0) return;
    target_.zero_();
    const at::Tensor* const inputs[] = {&batch.inputs, &batch.second_inputs};
    for (std::size_t side = 0; side < 2; ++side) {
      // Of each inner product as much is taken off as makes it the negative half square of the distance, so that the
      // rows' lengths do not matter, however far the data lie from the origin.
      const at::Tensor& x = *inputs[side];
      const at::Tensor bias = x.square().sum(1).mul_(-0.5 / tau_[side]);
      at::addmm_out(model_log_, bias, x, x.t(), 1, 1.0 / tau_[side]);
      at::softmax_out(slope_, model_log_, 1);
      target_.add_(slope_, soft_ / 2.0);
    }
    target_.diagonal().add_(1.0 - soft_);
    entropy_ = -at::xlogy(target_, target_).sum().item<double>();
  }

  // sum_ij t_ij (log t_ij - log p_ij)
  double divergence(const at::Tensor& model_log, const at::Tensor& target) const {
    const double cross =
        soft_ == 0.0 ? -model_log.diagonal().sum().item<double>() : -at::mul(target, model_log).sum().item<double>();
    return cross - entropy_;
  }

  double soft_, tau_[2], balance_, quantization_, ste_start_, ste_end_, ste_anneal_, scale_rate_;
  float log_scale_, max_log_scale_;
  float log_scale_gradient_ = 0.0f;
  double entropy_ = 0.0;  // of all rows of target_
  at::Tensor zero_ = at::zeros({1}, at::kFloat);
  at::Tensor logits_, model_log_, slope_, target_;  // (n, n)
  at::Tensor code_, gradient_;                      // (2 n, n_bits)
};

}  // namespace

const ObjectiveEntry& pairs_objective() {
  static const ObjectiveEntry entry{
      {"pairs",
       "mean_i KL(t_i || softmax_j(e^s ha_i.hb_j / b)) and the same from b to a, halved; t_i = (1 - soft) [i = j] + "
       "soft (similarity within the sides) + balance mean_k (mean_i u_ik)^2 + quantization mean (1 - |u|)^2",
       "after Radford et al., Learning transferable visual models from natural language supervision (ICML 2021); soft "
       "targets: Gao et al., SoftCLIP (AAAI 2024); straight-through sign: Bengio et al. (2013)",
       Supervision::none,
       Batches::pass,
       2,
       {{"soft", 0.0},
        {"tau_first", 0.02},
        {"tau_second", 0.02},
        {"balance", 0.1},
        {"quantization", 0.0},
        {"ste_start", 0.5},
        {"ste_end", 1.0},
        {"ste_anneal", 0.8},
        {"scale", 15.0},
        {"max_scale", 100.0},
        {"scale_learning_rate", 1e-2}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<Pairs>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
