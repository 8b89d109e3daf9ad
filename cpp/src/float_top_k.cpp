#include "simskip/float_top_k.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/kernels.hpp"
#include "parallel.hpp"
#include "simskip/threads.hpp"

namespace simskip {
namespace {

constexpr double unit_roundoff = 0x1p-24;

// Queries that are reranked together: they are read again for every row, so they should stay in a usual L3 cache; the
// more there are, the more often a row is fetched once for several (60,000 rows of 1280, 1,000 queries, 260 candidates
// each: 132 us a query with 512 KiB, 68 with 4 MiB, 56 with 8). And how many comparisons they may need.
constexpr std::size_t rerank_cache_bytes = 4 << 20;
constexpr std::size_t rerank_pairs = 1 << 20;

// One row to be compared with one query: `place` counts the block's candidates.
struct Comparison {
  std::int64_t row;
  std::size_t place;
  bool operator<(const Comparison& other) const { return row < other.row; }
};

struct Hit {
  float value;  // ascending is nearer
  std::int64_t id;
  bool operator<(const Hit& other) const { return value < other.value || (value == other.value && id < other.id); }
};

// Rows of Vectors as floats. One per thread.
class RowReader {
 public:
  explicit RowReader(const Vectors& vectors) : vectors_(vectors), widened_(vectors.halves ? vectors.dim : 0) {}

  // Valid until the next call.
  const float* operator()(std::int64_t row) {
    const std::size_t first = static_cast<std::size_t>(row) * vectors_.dim;
    if (!vectors_.halves) return vectors_.rows + first;
    if (row != last_) {
      for (std::size_t i = 0; i < vectors_.dim; ++i) widened_[i] = widened(vectors_.halves[first + i]);
      last_ = row;
    }
    return widened_.data();
  }

 private:
  const Vectors& vectors_;
  std::vector<float> widened_;
  std::int64_t last_ = -1;
};

// The value that decides: computed in double, rounded to float once. Adding 0 turns -0 into 0.
float exact_value(const Vectors& vectors, RowReader& read, std::int64_t row, const float* query, double query_norm,
                  Metric metric) {
  const kernels::Kernels& kernels = kernels::in_use();
  const float* x = read(row);
  const auto dim = static_cast<std::uint32_t>(vectors.dim);
  switch (metric) {
    case Metric::l2:
      return static_cast<float>(std::sqrt(kernels.squared_l2(query, x, dim)));
    case Metric::dot:
      return static_cast<float>(-kernels.dot(query, x, dim)) + 0.0f;
    case Metric::cosine:
      break;
  }
  const double norms = query_norm * vectors.norms[row];
  const double cosine = norms > 0.0 ? kernels.dot(query, x, dim) / norms : 0.0;  // a zero vector is like nothing
  return static_cast<float>(std::max(0.0, 1.0 - cosine));
}

// Sorts hits and writes the first k of them.
void write_nearest(std::vector<Hit>& hits, std::size_t k, Metric metric, float* distances, std::int64_t* ids) {
  const std::size_t found = std::min(k, hits.size());
  std::partial_sort(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(found), hits.end());
  const float sign = metric == Metric::dot ? -1.0f : 1.0f;
  for (std::size_t i = 0; i < k; ++i) {
    distances[i] = sign * (i < found ? hits[i].value : std::numeric_limits<float>::infinity());
    ids[i] = i < found ? hits[i].id : -1;
  }
}

std::int64_t id_of(const Vectors& vectors, std::int64_t row) { return vectors.ids ? vectors.ids[row] : row; }

}  // namespace

// Both kinds of numbers are made of normal floats: a subnormal half is the distance of two of them.
float widened(std::uint16_t half) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7FFF) << 13;
  const std::uint32_t normal = magnitude + (112u << 23);
  const float subnormal = std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14f;
  const std::uint32_t bits = half & 0x7C00 ? normal : std::bit_cast<std::uint32_t>(subnormal);
  return std::bit_cast<float>(bits | static_cast<std::uint32_t>(half & 0x8000) << 16);
}

void row_norms(const float* rows, std::size_t n, std::size_t dim, double* norms, int threads) {
  const bool parallel = n * dim > 1 << 16;
  const auto dot = kernels::in_use().dot;  // may throw, which a parallel region must not
#pragma omp parallel for schedule(static) num_threads(resolve_threads(threads)) if (parallel)
  for (std::size_t i = 0; i < n; ++i)
    norms[i] = std::sqrt(dot(rows + i * dim, rows + i * dim, static_cast<std::uint32_t>(dim)));
}

FloatTopK::FloatTopK(const float* queries, std::size_t n_queries, std::size_t dim, std::size_t k, Metric metric,
                     double longest_row, int threads)
    : queries_(queries),
      n_queries_(n_queries),
      dim_(dim),
      k_(k),
      metric_(metric),
      longest_(longest_row),
      threads_(resolve_threads(threads)),
      query_norms_(n_queries),
      threshold_(n_queries, std::numeric_limits<float>::infinity()),
      proposed_(n_queries) {
  row_norms(queries, n_queries, dim, query_norms_.data(), threads_);
}

float FloatTopK::slack(std::size_t q) const {
  // The product's bound, plus a few roundings of the value made from it; cosine divides by |x| first. Doubled for
  // comparing two values, rounded up by the last factor.
  const double sum = (static_cast<double>(dim_) + 8) * unit_roundoff;
  const double gamma = sum / (1 - std::min(sum, 0.5));
  const double query = query_norms_[q];
  double error = gamma * query * longest_;
  if (metric_ == Metric::cosine) error = gamma * query;
  // The square of a distance that was rounded to float: far from the origin that rounding exceeds the product's.
  if (metric_ == Metric::l2) error = 2 * error + 8 * unit_roundoff * (longest_ + query) * (longest_ + query);
  return static_cast<float>(2 * error * 1.01) + std::numeric_limits<float>::min();
}

void FloatTopK::prune(std::size_t q) {
  std::vector<Proposed>& rows = proposed_[q];
  if (rows.size() <= k_) return;
  const auto kth = rows.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
  std::nth_element(rows.begin(), kth, rows.end(),
                   [](const Proposed& a, const Proposed& b) { return a.value < b.value; });
  threshold_[q] = kth->value + slack(q);
  std::erase_if(rows, [limit = threshold_[q]](const Proposed& p) { return p.value > limit; });
}

void FloatTopK::add(const float* products, std::size_t n, const std::int64_t* rows, std::int64_t first_row,
                    const double* norms) {
  // One addend and one factor per row turn a product into a value for any metric: value = offset + factor * product.
  std::vector<float> offset(n, 0.0f), factor(n, -1.0f);
  for (std::size_t i = 0; i < n; ++i) {
    if (metric_ == Metric::cosine) factor[i] = norms[i] > 0.0 ? static_cast<float>(-1.0 / norms[i]) : 0.0f;
    if (metric_ == Metric::l2) {
      offset[i] = static_cast<float>(norms[i] * norms[i]);
      factor[i] = -2.0f;
    }
  }
  const std::size_t room = std::max<std::size_t>(2 * k_, k_ + 64);
  const bool serial = n_queries_ * n <= 1 << 15;
  parallel_for(n_queries_, serial ? 1 : threads_, nullptr, [&](std::size_t q) {
    const float* product = products + q * n;
    std::vector<Proposed>& found = proposed_[q];
    std::size_t limit = std::max(room, found.size() + room);
    float threshold = threshold_[q];
    constexpr std::size_t step = 16;
    for (std::size_t i = 0; i < n; i += step) {
      const std::size_t stop = std::min(n, i + step);
      float nearest = std::numeric_limits<float>::infinity();
      for (std::size_t j = i; j < stop; ++j) nearest = std::min(nearest, offset[j] + factor[j] * product[j]);
      if (!(nearest <= threshold)) continue;
      for (std::size_t j = i; j < stop; ++j) {
        const float value = offset[j] + factor[j] * product[j];
        if (value <= threshold) found.push_back({value, rows ? rows[j] : first_row + static_cast<std::int64_t>(j)});
      }
      if (found.size() >= limit) {
        prune(q);
        threshold = threshold_[q];
        limit = found.size() + room;  // many near-ties may survive
      }
    }
    prune(q);
  });
}

FloatNeighbors FloatTopK::finish(const Vectors& vectors, Interrupt* interrupt) const {
  FloatNeighbors out{std::vector<float>(n_queries_ * k_), std::vector<std::int64_t>(n_queries_ * k_)};
  parallel_for(n_queries_, threads_, interrupt, [&](std::size_t q) {
    std::vector<Hit> hits;
    hits.reserve(proposed_[q].size());
    RowReader read(vectors);
    for (const Proposed& p : proposed_[q])
      hits.push_back(
          {exact_value(vectors, read, p.row, queries_ + q * dim_, query_norms_[q], metric_), id_of(vectors, p.row)});
    write_nearest(hits, k_, metric_, &out.distances[q * k_], &out.ids[q * k_]);
  });
  return out;
}

FloatNeighbors rerank(const Vectors& vectors, const float* queries, std::size_t n_queries,
                      const std::int64_t* candidates, std::size_t n_candidates, std::size_t k, Metric metric,
                      int threads, Interrupt* interrupt) {
  FloatNeighbors out{std::vector<float>(n_queries * k), std::vector<std::int64_t>(n_queries * k)};
  const bool serial = n_queries * n_candidates * vectors.dim < 1 << 17;
  const auto team = static_cast<std::size_t>(serial ? 1 : resolve_threads(threads));
  const std::size_t fair = (n_queries + team - 1) / team;
  const std::size_t cached = rerank_cache_bytes / (vectors.dim * sizeof(float));
  const std::size_t fitting = rerank_pairs / std::max<std::size_t>(n_candidates, 1);
  const std::size_t block = std::max<std::size_t>(1, std::min({fair, cached, fitting}));
  parallel_for((n_queries + block - 1) / block, static_cast<int>(team), interrupt, [&](std::size_t b) {
    const std::size_t first = b * block, n = std::min(block, n_queries - first);
    const std::int64_t* rows = candidates + first * n_candidates;
    std::vector<Comparison> comparisons;
    comparisons.reserve(n * n_candidates);
    for (std::size_t place = 0; place < n * n_candidates; ++place)
      if (rows[place] >= 0) comparisons.push_back({rows[place], place});
    // By row: a row that several queries of the block want is fetched once, and memory is read in one direction.
    std::sort(comparisons.begin(), comparisons.end());
    std::vector<double> norms(n);
    row_norms(queries + first * vectors.dim, n, vectors.dim, norms.data(), 1);
    std::vector<float> values(n * n_candidates);
    RowReader read(vectors);
    for (std::size_t i = 0; i < comparisons.size(); ++i) {
      if (i % 256 == 0 && interrupt && (on_calling_thread() ? interrupt->check() : interrupt->requested())) return;
      const auto [row, place] = comparisons[i];
      const std::size_t q = place / n_candidates;
      values[place] = exact_value(vectors, read, row, queries + (first + q) * vectors.dim, norms[q], metric);
    }
    std::vector<Hit> hits;
    for (std::size_t q = 0; q < n; ++q) {
      hits.clear();
      for (std::size_t place = q * n_candidates; place < (q + 1) * n_candidates; ++place)
        if (rows[place] >= 0) hits.push_back({values[place], id_of(vectors, rows[place])});
      write_nearest(hits, k, metric, &out.distances[(first + q) * k], &out.ids[(first + q) * k]);
    }
  });
  return out;
}

}  // namespace simskip
