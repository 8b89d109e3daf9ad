// The learning rate of every step.
#pragma once

#include <cstdint>
#include <string>

namespace simskip::learn {

// What the base learning rate is multiplied with at `step` of `total` (from 0).
//   constant: 1
//   cosine:   from 1 to 0 along half a cosine (Loshchilov & Hutter, 2017, without restarts)
//   onecycle: 1/25 -> 1 over the first 30 %, then to 1e-4 / 25, both along half a cosine (Smith & Topin, 2018)
// Throws std::invalid_argument for another name.
double schedule_factor(const std::string& schedule, std::int64_t step, std::int64_t total);

}  // namespace simskip::learn
