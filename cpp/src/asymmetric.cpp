#include "simskip/asymmetric.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "parallel.hpp"
#include "simskip/codes.hpp"
#include "simskip/threads.hpp"

namespace simskip {
namespace {

struct Hit {
  float distance;
  std::uint32_t row;
  bool operator<(const Hit& o) const { return distance < o.distance || (distance == o.distance && row < o.row); }
};

// entry[b][v]: the summed weights of the bits of byte b in which v differs from the query.
class WeightTables {
 public:
  WeightTables(const float* outputs, int n_bits) : entry_(words_per_code(n_bits) * 8) {
    for (std::size_t b = 0; b < entry_.size(); ++b) {
      std::array<float, 8> when_one{}, when_zero{};
      for (std::size_t i = 0; i < 8 && b * 8 + i < static_cast<std::size_t>(n_bits); ++i) {
        const float output = outputs[b * 8 + i];
        (output > 0 ? when_zero : when_one)[i] = std::fabs(output);
      }
      for (unsigned value = 0; value < 256; ++value) {
        float sum = 0.0f;
        for (unsigned i = 0; i < 8; ++i) sum += (value >> i & 1) ? when_one[i] : when_zero[i];
        entry_[b][value] = sum;
      }
    }
  }
  const std::array<float, 256>& operator[](std::size_t byte) const { return entry_[byte]; }

 private:
  std::vector<std::array<float, 256>> entry_;
};

// Rows whose distances are looked up together: the running sums of all of them stay in registers or L1.
constexpr std::size_t step = 64;

// The nearest rows of [begin, end), unordered, up to k of them.
std::vector<Hit> scan(const CodeBlocks& codes, const WeightTables& weights, std::size_t begin, std::size_t end,
                      std::size_t k, const SearchOptions& options, bool asks) {
  std::vector<Hit> nearest;
  const std::size_t room = 2 * k + 64;
  nearest.reserve(room + step);
  float threshold = std::numeric_limits<float>::infinity();
  const auto keep_k = [&] {
    if (nearest.size() <= k) return;
    const auto kth = nearest.begin() + static_cast<std::ptrdiff_t>(k) - 1;
    std::nth_element(nearest.begin(), kth, nearest.end());
    threshold = kth->distance;  // rows come in ascending order: one at this distance is no longer nearer
    nearest.resize(k);
  };
  for (std::size_t row = begin; row < end; row += step) {
    if (options.interrupt && row % (step << 10) == 0 &&
        (asks ? options.interrupt->check() : options.interrupt->requested()))
      break;
    float sums[step] = {};
    for (std::size_t block = 0; block < step / 8; ++block) {
      const std::uint64_t* words = codes.data() + (row / 8 + block) * codes.words() * 8;
      for (std::size_t w = 0; w < codes.words(); ++w)
        for (std::size_t byte = 0; byte < 8; ++byte) {
          const std::array<float, 256>& entry = weights[w * 8 + byte];
          for (std::size_t lane = 0; lane < 8; ++lane)
            sums[block * 8 + lane] += entry[words[w * 8 + lane] >> (8 * byte) & 0xFF];
        }
    }
    const std::size_t n = std::min(step, codes.size() - row);
    for (std::size_t i = 0; i < n; ++i) {
      if (!(sums[i] < threshold)) continue;
      if (options.allowed && !(options.allowed[(row + i) / 64] >> ((row + i) % 64) & 1)) continue;
      nearest.push_back({sums[i], static_cast<std::uint32_t>(row + i)});
    }
    if (nearest.size() >= room) keep_k();
  }
  keep_k();
  return nearest;
}

}  // namespace

FloatNeighbors asymmetric_top_k(const CodeBlocks& codes, const float* outputs, std::size_t n_queries, std::size_t k,
                                const SearchOptions& options) {
  FloatNeighbors out{std::vector<float>(n_queries * k, std::numeric_limits<float>::infinity()),
                     std::vector<std::int64_t>(n_queries * k, no_id)};
  const auto threads = static_cast<std::size_t>(resolve_threads(options.threads));
  const std::size_t steps = CodeBlocks::padded_rows(codes.size()) / step;
  // Few queries share the database among threads, in parts of a size that is worth a thread.
  const std::size_t parts = n_queries >= threads ? 1 : std::clamp<std::size_t>(steps / 256, 1, threads);
  std::vector<std::vector<Hit>> found(n_queries * parts);
  const std::size_t kept = std::min(k, codes.size());
  parallel_for(n_queries * parts, static_cast<int>(threads), options.interrupt, [&](std::size_t task) {
    const std::size_t q = task / parts, part = task % parts;
    const WeightTables weights(outputs + q * static_cast<std::size_t>(codes.n_bits()), codes.n_bits());
    if (kept) {
      found[task] = scan(codes, weights, steps * part / parts * step, steps * (part + 1) / parts * step, kept, options,
                         on_calling_thread());
      std::sort(found[task].begin(), found[task].end());
    }
  });
  for (std::size_t q = 0; q < n_queries; ++q) {
    std::vector<Hit> all = std::move(found[q * parts]);
    for (std::size_t part = 1; part < parts; ++part)
      all.insert(all.end(), found[q * parts + part].begin(), found[q * parts + part].end());
    if (parts > 1) std::sort(all.begin(), all.end());
    for (std::size_t i = 0; i < std::min(k, all.size()); ++i) {
      out.distances[q * k + i] = all[i].distance;
      out.ids[q * k + i] = all[i].row;
    }
  }
  return out;
}

}  // namespace simskip
