#include "threshold_sample.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "kernels/kernels.hpp"

namespace simskip {
namespace {

constexpr std::size_t rows_per_query = 64;  // more would take longer to copy than they save
constexpr std::size_t most_rows = 1 << 16;
constexpr std::size_t fewest_rows = 1 << 10;
constexpr std::size_t database_per_sample = 8;
constexpr double most_expected = 64;
constexpr std::size_t first_stage = kernels::rows_per_step;
constexpr std::uint64_t golden_ratio = 0x9E3779B97F4A7C15;  // its fraction, times 2^64

// A Poisson variable of this mean is larger in about one of a thousand cases. (Its square root is nearly normal.)
std::size_t rank(double mean) { return static_cast<std::size_t>(std::ceil(mean + 2.5 * std::sqrt(mean) + 1.5)); }

std::size_t count_rows(const CodeBlocks& codes, const std::uint64_t* allowed) {
  if (!allowed) return codes.size();
  std::size_t count = 0;
  for (std::size_t i = 0; i < codes.size() / 64; ++i) count += static_cast<std::size_t>(std::popcount(allowed[i]));
  if (const std::size_t rest = codes.size() % 64)
    count += static_cast<std::size_t>(std::popcount(allowed[codes.size() / 64] << (64 - rest)));
  return count;
}

// The distances of the rows of the sample that are below a falling threshold.
class Distances : public kernels::Hits {
 public:
  static constexpr std::uint32_t capacity = 256;
  static constexpr std::size_t most_wanted = capacity / 2;

  // `rows` has room for `capacity` rows that nobody reads, `histogram` n_bits + 1 zeros.
  Distances(std::uint32_t first_threshold, std::uint32_t* unread_rows, std::vector<std::uint32_t>& histogram)
      : distance_buffer_(capacity), histogram_(&histogram), guess_(first_threshold) {
    rows = unread_rows;
    distances = distance_buffer_.data();
    threshold = first_threshold;
    full = capacity - kernels::rows_per_step;
    tighten = [](kernels::Hits* hits) { static_cast<Distances*>(hits)->make_room(); };
  }
  Distances(Distances&&) = default;
  Distances(const Distances&) = delete;

  // How many rows a threshold has to leave from now on; at most most_wanted.
  void want(std::size_t rows_below) { wanted_ = static_cast<std::uint32_t>(rows_below); }

  // Lowers the threshold as long as the wanted number of rows stay below it, and drops the others.
  void keep_wanted() {
    if (count < wanted_) return;
    std::vector<std::uint32_t>& histogram = *histogram_;
    for (std::uint32_t i = 0; i < count; ++i) ++histogram[distances[i]];
    std::uint32_t last = 0;
    for (std::uint32_t below = histogram[0]; below < wanted_; below += histogram[last]) ++last;
    for (std::uint32_t i = 0; i < count; ++i) histogram[distances[i]] = 0;
    threshold = guess_ = last + 1;
    drop();
  }

  std::uint32_t guess() const { return guess_; }

 private:
  void drop() {
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < count; ++i)
      if (distances[i] < threshold) distances[kept++] = distances[i];
    count = kept;
  }

  void make_room() {
    keep_wanted();
    if (count <= most_wanted) return;
    // So many rows are at the largest distance that more of them say nothing. Nearer ones may still lower the guess.
    --threshold;
    drop();
  }

  std::vector<std::uint16_t> distance_buffer_;
  std::vector<std::uint32_t>* histogram_;
  std::uint32_t guess_;
  std::uint32_t wanted_ = 1;
};

}  // namespace

std::vector<std::uint32_t> ThresholdSample::choose_rows(const CodeBlocks& codes, std::size_t k, std::size_t n_queries,
                                                        const SearchOptions& options) {
  std::vector<std::uint32_t> rows;
  const std::size_t n = count_rows(codes, options.allowed);
  const std::size_t size = std::min({n / database_per_sample, rows_per_query * n_queries, most_rows});
  if (size < fewest_rows) return rows;
  const double share =
      std::min(static_cast<double>(size) / static_cast<double>(n), most_expected / static_cast<double>(k));
  if (share * static_cast<double>(n) < fewest_rows) return rows;
  // Multiples of the golden ratio: every prefix of the sample is spread evenly over the database, too, and rows that
  // stand together there (an album, a class) do not come together here.
  std::uint64_t fraction = 0;
  for (auto left = static_cast<std::size_t>(share * static_cast<double>(codes.size())); left > 0; --left) {
    const auto row = static_cast<std::uint32_t>((fraction >> 32) * codes.size() >> 32);
    if (!options.allowed || (options.allowed[row / 64] >> (row % 64) & 1)) rows.push_back(row);
    fraction += golden_ratio;
  }
  if (rows.size() < fewest_rows / 2) rows.clear();  // the filter follows the same pattern
  return rows;
}

ThresholdSample::ThresholdSample(const CodeBlocks& codes, std::size_t k, std::size_t n_queries,
                                 const SearchOptions& options)
    : sample_(codes.n_bits()) {
  const std::vector<std::uint32_t> rows = choose_rows(codes, k, n_queries, options);
  if (rows.empty()) return;
  sample_ = codes.gather(rows.data(), rows.size());
  const double expected = static_cast<double>(k) * static_cast<double>(rows.size()) /
                          static_cast<double>(count_rows(codes, options.allowed));
  wanted_ = std::min(rank(expected), Distances::most_wanted);
}

void ThresholdSample::lower(const std::uint64_t* const* queries, std::uint32_t* thresholds, std::size_t n) const {
  std::vector<std::uint32_t> histogram(static_cast<std::size_t>(sample_.n_bits()) + 1);
  std::vector<std::uint32_t> unread_rows(Distances::capacity);
  std::vector<Distances> seen;
  std::vector<kernels::Hits*> hits;
  seen.reserve(n);
  for (std::size_t q = 0; q < n; ++q) {
    seen.emplace_back(thresholds[q], unread_rows.data(), histogram);
    hits.push_back(&seen.back());
  }
  const std::size_t end = CodeBlocks::padded_rows(sample_.size());
  for (std::size_t begin = 0, stop = first_stage; begin < end; begin = stop, stop *= 4) {
    stop = std::min(stop, end);
    const kernels::Scan scan{sample_.data(), static_cast<std::uint32_t>(sample_.words()),
                             static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(stop),
                             static_cast<std::uint32_t>(sample_.size())};
    // A prefix of the sample is a sample of the sample: the same argument once more.
    const double part = static_cast<double>(stop) / static_cast<double>(end);
    const std::size_t wanted = std::min(wanted_, rank(static_cast<double>(wanted_) * part));
    for (Distances& distances : seen) distances.want(wanted);
    kernels::in_use().scan_many(scan, queries, hits.data(), static_cast<std::uint32_t>(n));
    for (Distances& distances : seen) distances.keep_wanted();
  }
  for (std::size_t q = 0; q < n; ++q) thresholds[q] = std::min(thresholds[q], seen[q].guess());
}

}  // namespace simskip
