// What the tests compare with: random codes of several kinds, and the plainest searches there are.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "simskip/code_blocks.hpp"
#include "simskip/codes.hpp"
#include "simskip/isa.hpp"
#include "simskip/top_k.hpp"

namespace simskip::testing {

// n packed codes.
struct PackedCodes {
  int n_bits;
  std::size_t n;
  std::vector<std::uint8_t> bytes;

  PackedCodes(int bits, std::size_t rows) : n_bits(bits), n(rows), bytes(rows * bytes_per_code(bits)) {}
  std::uint8_t* row(std::size_t i) { return bytes.data() + i * bytes_per_code(n_bits); }
  const std::uint8_t* row(std::size_t i) const { return bytes.data() + i * bytes_per_code(n_bits); }
  void flip(std::size_t i, int bit) { row(i)[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8)); }
};

enum class Kind { random, clustered, all_equal, descending, extremes };

inline const std::vector<Kind> all_kinds = {Kind::random, Kind::clustered, Kind::all_equal, Kind::descending,
                                            Kind::extremes};

// descending: each row is nearer to zero than all before it, so every row changes the list of the nearest.
// extremes: all bits clear or all set, the smallest and largest distances there are.
inline PackedCodes make_codes(Kind kind, int n_bits, std::size_t n, unsigned seed) {
  std::mt19937 engine(seed);
  PackedCodes codes(n_bits, n);
  const auto randomise = [&](std::size_t i) {
    for (int bit = 0; bit < n_bits; ++bit)
      if (engine() & 1) codes.flip(i, bit);
  };
  for (std::size_t i = 0; i < n; ++i) {
    switch (kind) {
      case Kind::random:
        randomise(i);
        break;
      case Kind::clustered:
        if (i < 4) {
          randomise(i);
        } else {
          std::copy_n(codes.row(engine() % 4), bytes_per_code(n_bits), codes.row(i));
          for (int flips = static_cast<int>(engine() % 3); flips > 0; --flips)
            codes.flip(i, static_cast<int>(engine() % static_cast<unsigned>(n_bits)));
        }
        break;
      case Kind::all_equal:
        if (i == 0)
          randomise(0);
        else
          std::copy_n(codes.row(0), bytes_per_code(n_bits), codes.row(i));
        break;
      case Kind::descending: {
        const int set = static_cast<int>((n - i) * static_cast<std::size_t>(n_bits) / n);
        for (int bit = 0; bit < set; ++bit) codes.flip(i, bit);
        break;
      }
      case Kind::extremes:
        if (engine() & 1)
          for (int bit = 0; bit < n_bits; ++bit) codes.flip(i, bit);
        break;
    }
  }
  return codes;
}

inline CodeBlocks to_blocks(const PackedCodes& codes) {
  CodeBlocks blocks(codes.n_bits);
  blocks.append(codes.bytes.data(), codes.n);
  return blocks;
}

inline int distance(const std::uint8_t* a, const std::uint8_t* b, int n_bits) {
  int sum = 0;
  for (std::size_t i = 0; i < bytes_per_code(n_bits); ++i) sum += std::popcount(static_cast<std::uint8_t>(a[i] ^ b[i]));
  return sum;
}

// All (distance, row) of the rows that pass, ascending.
inline std::vector<std::pair<int, std::int64_t>> sorted_rows(const PackedCodes& codes, const std::uint8_t* query,
                                                             const SearchOptions& options) {
  std::vector<std::pair<int, std::int64_t>> rows;
  for (std::size_t i = 0; i < codes.n; ++i) {
    if (options.allowed && !(options.allowed[i / 64] >> (i % 64) & 1)) continue;
    const int d = distance(codes.row(i), query, codes.n_bits);
    if (d <= options.max_distance) rows.emplace_back(d, static_cast<std::int64_t>(i));
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

inline Neighbors oracle_top_k(const PackedCodes& codes, const PackedCodes& queries, std::size_t k,
                              const SearchOptions& options) {
  Neighbors out{std::vector<std::int32_t>(queries.n * k, no_distance), std::vector<std::int64_t>(queries.n * k, no_id)};
  for (std::size_t q = 0; q < queries.n; ++q) {
    const auto rows = sorted_rows(codes, queries.row(q), options);
    for (std::size_t i = 0; i < std::min(k, rows.size()); ++i) {
      out.distances[q * k + i] = rows[i].first;
      out.ids[q * k + i] = rows[i].second;
    }
  }
  return out;
}

// Restores the instruction set that was in use.
class IsaGuard {
 public:
  IsaGuard() : isa_(active_isa()) {}
  ~IsaGuard() { force_isa(isa_); }
  IsaGuard(const IsaGuard&) = delete;

 private:
  std::string isa_;
};

}  // namespace simskip::testing
