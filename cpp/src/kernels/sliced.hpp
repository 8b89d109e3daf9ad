// The bit-sliced scan, for many queries and codes of one or two words, once for all instruction sets.
//
// Instead of counting the bits of one difference after the other, it counts for 64 * lanes codes at once with logic:
// register p (a "plane") holds bit p of all of them, and full adders (2 inputs and a running sum -> sum and carry)
// add the planes up, weight by weight. (Warren, Hacker's Delight, 5-1, "Harley-Seal"; here across codes.)
//
// Three things make it cheap:
//  * Planes are made by transposing a block of 512 codes once for all queries; no second copy of the codes is kept.
//  * The first adders do not depend on the query except for which planes it flips. For each group of 3 planes both
//    parities (sum) and all 8 majorities (carry) are tabled once per block; a query picks its own by offset.
//    ("Method of the four Russians".) That leaves 42 adders per 64 bits.
//  * The sum starts at 64 * words - threshold, so its top carry says "distance >= threshold": no comparison.
//
// `Lanes` (scan.hpp) supplies majority and parity of three registers besides what scan.hpp uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels.hpp"
#include "scan.hpp"

namespace simskip::kernels {
namespace {

// Rows per block: 64 rows for each of 8 lanes. Row 8 * j + l of the block is bit j of lane l.
inline constexpr std::uint32_t rows_per_slice = 512;
// Queries that share the tables of a block.
inline constexpr std::uint32_t slice_queries = 256;

template <class L, int Words>
class Slices {
  using Vec = typename L::Vec;
  static constexpr int groups = 21 * Words;  // of 3 planes; one plane per word is left over
  static constexpr int parts = rows_per_block / L::lanes;
  static constexpr int levels = Words == 1 ? 6 : 7;  // bits of 64 * words - 1

  struct alignas(64) Table {
    Vec parity[groups][2];    // of the 3 planes, and its complement
    Vec majority[groups][8];  // of the 3 planes, those in the index flipped
    Vec single[Words][2];     // the plane that is left over, and its complement
    Vec constant[2];          // zeros and ones
  };
  static_assert(sizeof(Table) < 1 << 16, "offsets are 16 bits");

 public:
  // What one query takes from a table, in bytes from its start.
  struct Picks {
    std::uint16_t ones[22 * Words];  // inputs of weight 1: parities and single planes
    std::uint16_t twos[groups];      // of weight 2: majorities
    std::uint16_t start[levels];     // the bits of 64 * words - threshold

    void choose(const Word* query) {
      for (int w = 0; w < Words; ++w) {
        for (int g = 0; g < 21; ++g) {
          const unsigned flipped = query[w] >> (3 * g) & 7;
          const int group = 21 * w + g;
          ones[group] = offset(offsetof(Table, parity), 2 * group + (__builtin_popcount(flipped) & 1));
          twos[group] = offset(offsetof(Table, majority), 8 * group + flipped);
        }
        ones[groups + w] = offset(offsetof(Table, single), 2 * w + (query[w] >> 63));
      }
    }
    // 1 <= threshold <= 64 * Words
    void set_threshold(std::uint32_t threshold) {
      for (int level = 0; level < levels; ++level)
        start[level] = offset(offsetof(Table, constant), (64 * Words - threshold) >> level & 1);
    }

   private:
    static std::uint16_t offset(std::size_t array, std::size_t index) {
      return static_cast<std::uint16_t>(array + index * sizeof(Vec));
    }
  };

  // Reads a block of rows_per_slice rows.
  void prepare(const Word* block) {
    for (int part = 0; part < parts; ++part) {
      Table& table = tables_[part];
      for (int w = 0; w < Words; ++w) {
        Vec planes[64];
        for (int j = 0; j < 64; ++j)
          planes[j] = L::load(block + (j * Words + w) * static_cast<int>(rows_per_block) + part * L::lanes);
        transpose(planes);
        for (int g = 0; g < 21; ++g) fill_group(table, 21 * w + g, planes + 3 * g);
        table.single[w][0] = planes[63];
        table.single[w][1] = ~planes[63];
      }
      table.constant[0] = L::splat(0);
      table.constant[1] = ~L::splat(0);
    }
  }

  // Bit j of masks[l] is set if row 8 * j + l is nearer than the query's threshold. Returns whether any is.
  bool near(const Picks& picks, Word* masks) const {
    Vec any = L::splat(0);
    for (int part = 0; part < parts; ++part) {
      const Vec mask =
          ~far(reinterpret_cast<const char*>(&tables_[part]), picks, std::make_index_sequence<16 * Words>());
      L::store(masks + part * L::lanes, mask);
      any = any | mask;
    }
    return L::nonzero(any);
  }

 private:
  // 64 x 64 bits in each lane: bit j of planes[p] becomes bit p of planes[j] (Hacker's Delight, 7-3).
  static void transpose(Vec* planes) {
    transpose_step<32>(planes, 0x00000000FFFFFFFF);
    transpose_step<16>(planes, 0x0000FFFF0000FFFF);
    transpose_step<8>(planes, 0x00FF00FF00FF00FF);
    transpose_step<4>(planes, 0x0F0F0F0F0F0F0F0F);
    transpose_step<2>(planes, 0x3333333333333333);
    transpose_step<1>(planes, 0x5555555555555555);
  }
  template <int Width>
  static void transpose_step(Vec* planes, Word low) {
    const Vec mask = L::splat(low);
    for (int first = 0; first < 64; first += 2 * Width)
      for (int k = first; k < first + Width; ++k) {
        const Vec swapped = ((planes[k] >> Width) ^ planes[k + Width]) & mask;
        planes[k + Width] = planes[k + Width] ^ swapped;
        planes[k] = planes[k] ^ (swapped << Width);
      }
  }

  static void fill_group(Table& table, int group, const Vec* plane) {
    const Vec parity = L::parity(plane[0], plane[1], plane[2]);
    table.parity[group][0] = parity;
    table.parity[group][1] = ~parity;
    for (int flipped = 0; flipped < 4; ++flipped) {
      const Vec a = flipped & 1 ? ~plane[0] : plane[0];
      const Vec b = flipped & 2 ? ~plane[1] : plane[1];
      const Vec majority = L::majority(a, b, plane[2]);
      table.majority[group][flipped] = majority;
      table.majority[group][7 - flipped] = ~majority;  // flipping all three flips the majority
    }
  }

  struct Adders {
    Vec sum[levels];   // running sum of each weight
    Vec held[levels];  // a carry that waits for its partner
    Vec top;           // the carry out of the last weight
  };

  static Vec add(Vec& sum, Vec a, Vec b) {
    const Vec carry = L::majority(sum, a, b);
    sum = L::parity(sum, a, b);
    return carry;
  }

  // Carry number `Number` of a weight goes to the next: even ones wait, odd ones are added with them.
  template <int Level, int Number>
  [[gnu::always_inline]] static void pass(Adders& adders, Vec carry) {
    if constexpr (Level == levels) {
      adders.top = carry;
    } else if constexpr (Number % 2 == 0) {
      adders.held[Level] = carry;
    } else {
      pass<Level + 1, Number / 2>(adders, add(adders.sum[Level], adders.held[Level], carry));
    }
  }

  // Adder `Number` of weight 2. The first 11 per word take a carry of weight 1 and a majority, the others two
  // majorities.
  template <int Number>
  [[gnu::always_inline]] static void step(Adders& adders, const char* table, const Picks& picks) {
    constexpr int with_ones = 11 * Words;
    const auto pick = [&](std::uint16_t offset) { return L::load(reinterpret_cast<const Word*>(table + offset)); };
    Vec carry;
    if constexpr (Number < with_ones) {
      const Vec from_ones = add(adders.sum[0], pick(picks.ones[2 * Number]), pick(picks.ones[2 * Number + 1]));
      carry = add(adders.sum[1], from_ones, pick(picks.twos[Number]));
    } else {
      constexpr int first = with_ones + 2 * (Number - with_ones);
      carry = add(adders.sum[1], pick(picks.twos[first]), pick(picks.twos[first + 1]));
    }
    pass<2, Number>(adders, carry);
  }

  // Bits of rows whose distance is at least the threshold.
  template <std::size_t... Number>
  [[gnu::always_inline]] static Vec far(const char* table, const Picks& picks, std::index_sequence<Number...>) {
    Adders adders;
    for (int level = 0; level < levels; ++level)
      adders.sum[level] = L::load(reinterpret_cast<const Word*>(table + picks.start[level]));
    (step<static_cast<int>(Number)>(adders, table, picks), ...);
    return adders.top;
  }

  Table tables_[parts];
};

// Off the hot path: appends the rows of masks in ascending order.
template <int Words>
[[gnu::noinline, gnu::cold]] void collect_slice(const Scan& scan, std::uint32_t row, const Word* masks,
                                                const Word* query, Hits& hits) {
  Word any = 0;
  for (std::uint32_t l = 0; l < rows_per_block; ++l) any |= masks[l];
  for (; any; any &= any - 1) {
    const int j = __builtin_ctzll(any);
    const std::uint32_t block_row = row + static_cast<std::uint32_t>(j) * rows_per_block;
    const Word* block = scan.blocks + static_cast<std::uint64_t>(block_row) * Words;
    for (std::uint32_t l = 0; l < rows_per_block; ++l) {
      const std::uint32_t r = block_row + l;
      if (!(masks[l] >> j & 1)) continue;
      if (hits.allowed && !(hits.allowed[r / 64] >> (r % 64) & 1)) continue;
      std::uint32_t distance = 0;
      for (int w = 0; w < Words; ++w)
        distance += static_cast<std::uint32_t>(__builtin_popcountll(block[w * rows_per_block + l] ^ query[w]));
      if (distance >= hits.threshold) continue;  // lowered while this block was collected
      hits.rows[hits.count] = r;
      hits.distances[hits.count] = static_cast<std::uint16_t>(distance);
      // Unlike a step of scan.hpp a slice may hold more rows than there is room for.
      if (++hits.count >= hits.full) hits.tighten(&hits);
    }
  }
}

template <class L, int Words>
[[gnu::noinline]] void scan_slices(const Scan& scan, const Word* const* queries, Hits* const* hits,
                                   std::uint32_t n_queries) {
  using S = Slices<L, Words>;
  S slices;
  typename S::Picks picks[slice_queries];
  std::uint32_t threshold[slice_queries];
  const auto refresh = [&](std::uint32_t q) {
    threshold[q] = hits[q]->threshold;
    if (threshold[q]) picks[q].set_threshold(threshold[q]);
  };
  for (std::uint32_t q = 0; q < n_queries; ++q) {
    picks[q].choose(queries[q]);
    refresh(q);
  }
  for (std::uint32_t row = scan.begin; row < scan.end; row += rows_per_slice) {
    slices.prepare(scan.blocks + static_cast<std::uint64_t>(row) * Words);
    for (std::uint32_t q = 0; q < n_queries; ++q) {
      alignas(64) Word masks[rows_per_block];
      if (!threshold[q] || __builtin_expect(!slices.near(picks[q], masks), 1)) continue;
      collect_slice<Words>(scan, row, masks, queries[q], *hits[q]);
      if (hits[q]->threshold != threshold[q]) refresh(q);
    }
  }
}

// Same as scan(), faster for many queries. Falls back to it for long codes, for queries that still accept every
// distance, and for rows that do not fill a slice.
template <class L>
void scan_many(const Scan& all, const Word* const* queries, Hits* const* hits, std::uint32_t n_queries) {
  Scan sliced = all;
  sliced.end =
      all.begin + ((all.end < all.n_rows ? all.end : all.n_rows) - all.begin) / rows_per_slice * rows_per_slice;
  bool settled = all.words <= 2 && sliced.end > all.begin && all.begin < all.n_rows;
  for (std::uint32_t q = 0; q < n_queries; ++q) settled = settled && hits[q]->threshold <= 64 * all.words;
  if (!settled) return scan<L>(all, queries, hits, n_queries);
  for (std::uint32_t q = 0; q < n_queries; q += slice_queries) {
    const std::uint32_t n = n_queries - q < slice_queries ? n_queries - q : slice_queries;
    if (all.words == 1)
      scan_slices<L, 1>(sliced, queries + q, hits + q, n);
    else
      scan_slices<L, 2>(sliced, queries + q, hits + q, n);
  }
  Scan rest = all;
  rest.begin = sliced.end;
  if (rest.begin < rest.end) scan<L>(rest, queries, hits, n_queries);
}

}  // namespace
}  // namespace simskip::kernels
