// Hits of several disjoint sets of rows become those of all of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "simskip/float_top_k.hpp"
#include "simskip/top_k.hpp"

namespace simskip {

// One set's hits: k of them per query, by (distance, id), perhaps padded.
template <class Found>
struct Part {
  Found found;
  std::size_t k;
};

// Distance of an empty slot.
inline std::int32_t padding(const Neighbors&) { return no_distance; }
inline float padding(const FloatNeighbors&) { return std::numeric_limits<float>::infinity(); }

// The k first by (distance, id) of all parts. O(n_queries * k * parts).
template <class Found>
Found merge_hits(const std::vector<Part<Found>>& parts, std::size_t n_queries, std::size_t k) {
  Found out;
  out.distances.assign(n_queries * k, padding(out));
  out.ids.assign(n_queries * k, no_id);
  std::vector<std::size_t> heads(parts.size());
  for (std::size_t q = 0; q < n_queries; ++q) {
    std::fill(heads.begin(), heads.end(), 0);
    for (std::size_t place = q * k; place < (q + 1) * k; ++place) {
      std::size_t best = parts.size(), best_at = 0;
      for (std::size_t p = 0; p < parts.size(); ++p) {
        const Found& found = parts[p].found;
        const std::size_t at = q * parts[p].k + heads[p];
        if (heads[p] == parts[p].k || found.ids[at] == no_id) continue;
        if (best < parts.size()) {
          const Found& other = parts[best].found;
          if (std::pair(other.distances[best_at], other.ids[best_at]) < std::pair(found.distances[at], found.ids[at]))
            continue;
        }
        best = p;
        best_at = at;
      }
      if (best == parts.size()) break;
      out.distances[place] = parts[best].found.distances[best_at];
      out.ids[place] = parts[best].found.ids[best_at];
      ++heads[best];
    }
  }
  return out;
}

// All hits of all parts, each query's by (distance, id).
inline Range merge_hits(const std::vector<Part<Range>>& parts, std::size_t n_queries, std::size_t) {
  Range out;
  out.limits.assign(n_queries + 1, 0);
  for (std::size_t q = 0; q < n_queries; ++q) {
    out.limits[q + 1] = out.limits[q];
    for (const auto& part : parts) out.limits[q + 1] += part.found.limits[q + 1] - part.found.limits[q];
  }
  out.distances.resize(static_cast<std::size_t>(out.limits.back()));
  out.ids.resize(static_cast<std::size_t>(out.limits.back()));
  std::vector<std::pair<std::int32_t, std::int64_t>> hits;
  for (std::size_t q = 0; q < n_queries; ++q) {
    hits.clear();
    for (const auto& part : parts) {
      const auto middle = static_cast<std::ptrdiff_t>(hits.size());
      for (auto at = static_cast<std::size_t>(part.found.limits[q]);
           at < static_cast<std::size_t>(part.found.limits[q + 1]); ++at)
        hits.emplace_back(part.found.distances[at], part.found.ids[at]);
      std::inplace_merge(hits.begin(), hits.begin() + middle, hits.end());
    }
    auto place = static_cast<std::size_t>(out.limits[q]);
    for (const auto& [distance, id] : hits) {
      out.distances[place] = distance;
      out.ids[place++] = id;
    }
  }
  return out;
}

// Hits of groups of queries in the order of the queries: found[g] has those of queries groups[g].
template <class Found>
Found scatter_hits(std::vector<Found>&& found, const std::vector<std::vector<std::size_t>>& groups,
                   std::size_t n_queries, std::size_t k) {
  Found out;
  out.distances.resize(n_queries * k);
  out.ids.resize(n_queries * k);
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < groups[g].size(); ++i) {
      std::copy_n(found[g].distances.begin() + static_cast<std::ptrdiff_t>(i * k), k,
                  out.distances.begin() + static_cast<std::ptrdiff_t>(groups[g][i] * k));
      std::copy_n(found[g].ids.begin() + static_cast<std::ptrdiff_t>(i * k), k,
                  out.ids.begin() + static_cast<std::ptrdiff_t>(groups[g][i] * k));
    }
  return out;
}

inline Range scatter_hits(std::vector<Range>&& found, const std::vector<std::vector<std::size_t>>& groups,
                          std::size_t n_queries, std::size_t) {
  Range out;
  out.limits.assign(n_queries + 1, 0);
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < groups[g].size(); ++i)
      out.limits[groups[g][i] + 1] = found[g].limits[i + 1] - found[g].limits[i];
  for (std::size_t q = 0; q < n_queries; ++q) out.limits[q + 1] += out.limits[q];
  out.distances.resize(static_cast<std::size_t>(out.limits.back()));
  out.ids.resize(static_cast<std::size_t>(out.limits.back()));
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < groups[g].size(); ++i) {
      const auto begin = found[g].limits[i], end = found[g].limits[i + 1], to = out.limits[groups[g][i]];
      std::copy(found[g].distances.begin() + begin, found[g].distances.begin() + end, out.distances.begin() + to);
      std::copy(found[g].ids.begin() + begin, found[g].ids.begin() + end, out.ids.begin() + to);
    }
  return out;
}

}  // namespace simskip
