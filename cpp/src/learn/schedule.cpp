#include "schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace simskip::learn {
namespace {

double between(double from, double to, double fraction) {
  return to + (from - to) * 0.5 * (1.0 + std::cos(std::numbers::pi * std::clamp(fraction, 0.0, 1.0)));
}

}  // namespace

double schedule_factor(const std::string& schedule, std::int64_t step, std::int64_t total) {
  const double progress = static_cast<double>(step) / static_cast<double>(std::max<std::int64_t>(1, total));
  if (schedule == "constant") return 1.0;
  if (schedule == "cosine") return between(1.0, 0.0, progress);
  if (schedule == "onecycle") {
    constexpr double rise = 0.3, first = 1.0 / 25.0, last = 1e-4 / 25.0;
    return progress < rise ? between(first, 1.0, progress / rise)
                           : between(1.0, last, (progress - rise) / (1.0 - rise));
  }
  throw std::invalid_argument("schedule must be one of constant, cosine, onecycle; got " + schedule);
}

}  // namespace simskip::learn
