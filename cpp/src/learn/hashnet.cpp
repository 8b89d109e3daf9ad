// Objective "hashnet": which pairs of a batch share a class, by logistic regression on the codes' inner products, which
// become those of bits as the training goes on. Needs labels.
//
//   v = tanh(beta y), y the network's last layer, beta from 1 to beta in equal steps: its limit is the sign
//   L = (mean over similar pairs + mean over dissimilar pairs of BCE(sigma(scale v_i.v_j / b), similar)) / 2
//
// The weights are the paper's w_ij (all pairs / pairs like this one), so rare similar pairs count as much as the many
// others. A batch without one of the two kinds has the other's mean alone.
//
// Defaults: scale 10 for any bit count (the paper's alpha is 10 / b), beta 10.
//
// Source: Cao et al., HashNet: deep learning to hash by continuation, ICCV 2017.
#include "buffer.hpp"
#include "class_targets.hpp"
#include "objective.hpp"
#include "pair_loss.hpp"

namespace simskip::learn {
namespace {

// tanh of larger numbers rounds to 1; the inverse must stay finite.
constexpr double corner = 1.0 - 1e-6;

class HashNet : public Objective {
 public:
  HashNet(const Options& options, const ObjectiveContext& context)
      : scale_(options.at("scale")), beta_(options.at("beta")), tanh_output_(context.tanh_output) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const auto n = static_cast<double>(u.size(0));
    const double beta = 1.0 + (beta_ - 1.0) * batch.progress;
    const double factor = scale_ / static_cast<double>(u.size(1));
    take_shape(code_, u.sizes());
    // With a tanh after the last layer, y is taken back out of it.
    const at::Tensor inside = tanh_output_ ? u.clamp(-corner, corner) : u;
    if (tanh_output_)
      at::atanh_out(code_, inside);
    else
      code_.copy_(u);
    code_.mul_(beta).tanh_();

    const at::Tensor similar = shares_class(batch);
    const double pairs = n * (n - 1.0);
    const double alike = similar.sum().item<double>() - similar.diagonal().sum().item<double>();
    const double kinds = (alike > 0) + (alike < pairs);
    at::Tensor slope = at::mm(code_, code_.t()).mul_(factor);
    Evaluation result;
    result.loss = pair_cross_entropy(slope, similar, alike > 0 ? 1.0 / (kinds * alike) : 0.0,
                                     alike < pairs ? 1.0 / (kinds * (pairs - alike)) : 0.0);
    // The slope is symmetric: each of the two rows of a pair gets it, hence twice.
    result.gradient = at::mm(slope, code_).mul_(2.0 * factor * beta);
    result.gradient.mul_(code_.square_().neg_().add_(1.0));
    if (tanh_output_) result.gradient.div_(inside.square().neg_().add_(1.0));
    result.parts = {{"pairs", result.loss}, {"beta", beta}};
    return result;
  }

 private:
  double scale_, beta_;
  bool tanh_output_;
  at::Tensor code_;
};

}  // namespace

const ObjectiveEntry& hashnet_objective() {
  static const ObjectiveEntry entry{
      {"hashnet",
       "balanced mean BCE(sigma(scale v_i.v_j / b), share a class), v = tanh(beta y), beta growing",
       "Cao et al., HashNet: deep learning to hash by continuation (ICCV 2017)",
       Supervision::targets,
       Batches::pass,
       1,
       {{"scale", 10.0}, {"beta", 10.0}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<HashNet>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
