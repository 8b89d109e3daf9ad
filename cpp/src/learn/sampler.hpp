// Which rows form a batch. All samplers are deterministic for a seed and give batches of one fixed size without
// repeated rows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "simskip/learn/objectives.hpp"
#include "simskip/learn/settings.hpp"
#include "simskip/learn/trainer.hpp"

namespace simskip::learn {

class Sampler {
 public:
  virtual ~Sampler() = default;
  // Fills `rows` (resized to batch_size()) with row numbers of the training set.
  virtual void next(std::vector<std::int32_t>& rows) = 0;
  virtual std::int64_t batch_size() const = 0;
};

// See Batches. Of `neighbors`, the anchors go through all rows in random order before one comes again; of `pass` and
// `classes`, an incomplete last batch is left out. `data` must outlive the sampler.
std::unique_ptr<Sampler> make_sampler(Batches batches, const Settings& settings, const TrainingSet& data);

}  // namespace simskip::learn
