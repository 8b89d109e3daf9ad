// Objective "autoencoder": the inputs can be read off the bits by a linear decoder. No labels.
//
//   L = mean_i |z_i - (W h_i + c)|^2 / mean_i |z_i - mean z|^2 + balance * mean_k (mean_i u_ik)^2
//   h = u + ste (sign(u) - u)
//
// W and c are learned, the sign is straight-through. The first term is the share of the batch's variance that is lost.
//
// Defaults: ste 1, balance 0.1, the decoder's learning rate that of the network.
//
// Source: Carreira-Perpinan & Raziperchikolaei, Hashing with binary autoencoders, CVPR 2015 (binary codes, linear
// decoder), trained by gradient instead of by auxiliary coordinates.
#include "linear_head.hpp"
#include "objective.hpp"
#include "straight_through.hpp"

namespace simskip::learn {
namespace {

class Autoencoder : public Objective {
 public:
  // The decoder starts near zero: what it says before it has learned would be noise of the size of the inputs.
  Autoencoder(const Options& options, const ObjectiveContext& context)
      : ste_(options.at("ste")),
        balance_(options.at("balance")),
        decoder_(context.n_bits, context.n_inputs, 0.01, options.at("decoder_rate"), context.seed) {}

  Evaluation evaluate(const at::Tensor& u, const Batch& batch) override {
    const auto n = static_cast<double>(u.size(0));
    straight_through(code_, u, ste_);
    at::Tensor& error = decoder_.forward(code_).sub_(batch.inputs);
    const double variance = (batch.inputs - batch.inputs.mean(0)).square_().sum().item<double>();
    // A batch of one point several times has no variance to share.
    const double total = variance > 0 ? variance : n;
    const double loss = error.square().sum().item<double>() / total;
    error.mul_(2.0 / total);
    Evaluation result;
    result.gradient = decoder_.backward(error);
    const at::Tensor mean = u.mean(0);
    const double balance = mean.square().mean().item<double>();
    result.gradient.add_(mean, balance_ * 2.0 / static_cast<double>(u.numel()));
    result.loss = loss + balance_ * balance;
    result.parts = {{"reconstruction", loss}, {"balance", balance}};
    return result;
  }

  std::vector<Parameter> parameters() override { return decoder_.parameters(); }

 private:
  double ste_, balance_;
  LinearHead decoder_;
  at::Tensor code_;
};

}  // namespace

const ObjectiveEntry& autoencoder_objective() {
  static const ObjectiveEntry entry{
      {"autoencoder",
       "mean |z - (W h + c)|^2 / variance of z + balance mean_k (mean_i u_ik)^2, h = u + ste (sign u - u)",
       "after Carreira-Perpinan & Raziperchikolaei, Hashing with binary autoencoders (CVPR 2015)",
       Supervision::none,
       Batches::pass,
       1,
       {{"ste", 1.0}, {"balance", 0.1}, {"decoder_rate", 1.0}}},
      [](const Options& options, const ObjectiveContext& context) -> std::unique_ptr<Objective> {
        return std::make_unique<Autoencoder>(options, context);
      }};
  return entry;
}

}  // namespace simskip::learn
