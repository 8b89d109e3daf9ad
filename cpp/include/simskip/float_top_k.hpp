// Exact Top-K of float vectors in two steps: BLAS proposes, exact sums decide.
//
// The caller multiplies queries with blocks of rows in float32 (that is BLAS's work) and hands the products to
// FloatTopK::add. It keeps every row whose product could, given the worst rounding error of such a product, belong to
// the k nearest. finish() computes those few rows' values in double in a fixed order and sorts by (value, id). So
// the answer is the same for any BLAS, block size, batch size, instruction set and number of threads.
//
// Error bound (Higham, Accuracy and Stability of Numerical Algorithms, 2002, (3.5)): a float32 sum of d products, in
// any order and with or without fused operations, is off by at most d u / (1 - d u) * |q| |x|, u = 2^-24.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simskip/interrupt.hpp"

namespace simskip {

inline constexpr double shortest_norm = 1e-15;
inline constexpr double longest_norm = 1e15;

enum class Metric { cosine, l2, dot };

// Rows that a search compares with: (n, dim) row-major and one id each (null: the row number). They are stored either
// in 32 bits or in 16 (IEEE 754 binary16, finite), which are widened one row at a time; the other pointer is null.
struct Vectors {
  const float* rows;
  std::size_t n;
  std::size_t dim;
  const std::int64_t* ids;
  const double* norms;  // euclidean length of each row, see row_norms
  const std::uint16_t* halves = nullptr;
};

// (n_queries, k): distances ascending (cosine, l2) or inner products descending (dot); then ids ascending. Empty slots
// hold id -1 and +infinity (dot: -infinity).
struct FloatNeighbors {
  std::vector<float> distances;
  std::vector<std::int64_t> ids;
};

// The exact float of a finite binary16 number, also of a subnormal one and whatever the processor does to subnormals.
float widened(std::uint16_t half);

// norms: (n,). Same sums as everywhere here.
void row_norms(const float* rows, std::size_t n, std::size_t dim, double* norms, int threads);

class FloatTopK {
 public:
  // queries: (n_queries, dim), must outlive this. k >= 1. longest_row: no row that will be added is longer.
  // Lengths of queries and rows must be 0 or in [shortest_norm, longest_norm]: then nothing over- or underflows.
  FloatTopK(const float* queries, std::size_t n_queries, std::size_t dim, std::size_t k, Metric metric,
            double longest_row, int threads);

  // products: (n_queries, n) = queries times the transposed block. rows: the block's n row numbers, or null for
  // first_row, first_row + 1, ... Not thread-safe; uses `threads` threads itself.
  void add(const float* products, std::size_t n, const std::int64_t* rows, std::int64_t first_row, const double* norms);

  // The k nearest of all rows added; `vectors` is what the row numbers refer to.
  FloatNeighbors finish(const Vectors& vectors, Interrupt* interrupt) const;

 private:
  struct Proposed {
    float value;  // ascending is nearer: -cos |q|, |x|^2 - 2 q.x, or -q.x
    std::int64_t row;
  };
  void prune(std::size_t q);
  // How far apart the values of two rows may be although the exact ones are in the other order.
  float slack(std::size_t q) const;

  const float* queries_;
  std::size_t n_queries_, dim_, k_;
  Metric metric_;
  double longest_;
  int threads_;
  std::vector<double> query_norms_;
  std::vector<float> threshold_;
  std::vector<std::vector<Proposed>> proposed_;
};

// Orders each query's candidate rows by the exact metric and keeps the k nearest: candidates (n_queries, n_candidates)
// row numbers, -1 for none. No other rows are touched: of a mapped file only the candidates' pages are read.
FloatNeighbors rerank(const Vectors& vectors, const float* queries, std::size_t n_queries,
                      const std::int64_t* candidates, std::size_t n_candidates, std::size_t k, Metric metric,
                      int threads, Interrupt* interrupt);

}  // namespace simskip
