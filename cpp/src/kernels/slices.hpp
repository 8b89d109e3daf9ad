// Bit slices: 64 * lanes codes held as one register per bit, and the adders that compare them with a query.
//
// Instead of counting the bits of one difference after the other, this counts for 64 * lanes codes at once with logic:
// register p (a "plane") holds bit p of all of them, and full adders (2 inputs and a running sum -> sum and carry)
// add the planes up, weight by weight. (Warren, Hacker's Delight, 5-1, "Harley-Seal"; here across codes.)
//
// Three things make it cheap:
//  * Planes are made by transposing a block of codes once for all queries; no second copy of the codes is kept.
//  * The first adders do not depend on the query except for which planes it flips. For each group of 3 planes both
//    parities (sum) and all 8 majorities (carry) are tabled once per block; a query picks its own by offset.
//    ("Method of the four Russians".) That leaves 42 adders per 64 bits.
//  * The sum starts at 2^levels - threshold, so its top carry says "distance >= threshold": no comparison.
//
// `Lanes` (scan.hpp) supplies besides what scan.hpp uses:
//   majority, parity  of three registers
//   full_add          sum ^= a ^ b; returns the majority of the old sum, a and b
//   nonzero           some bit is set
//   registers         of the processor
//   together          how many tables one pass over a query's picks serves: they share the offsets, and their chains of
//                     additions, each bound by latency, overlap. Needs about 15 registers for each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.hpp"
#include "scan.hpp"

namespace simskip::kernels {
namespace {

// Rows 8 * j + l (0 <= j < 64) of a slice of 512 are bit j of lane l.
inline constexpr std::uint32_t rows_per_slice = 512;

template <class L, int Words>
class Slices {
  using Vec = typename L::Vec;
  static constexpr int groups = 21 * Words;                           // of 3 planes; one plane per word is left over
  static constexpr int levels = Words == 1 ? 6 : Words == 2 ? 7 : 8;  // 2^levels >= 64 * words
  static constexpr int together = Words == 1 ? L::together : 1;
  static constexpr bool two_chains = L::registers >= 32;
  static constexpr int parts_per_slice = rows_per_block / L::lanes;
  static_assert(Words <= 4 && 64 * Words <= 1 << levels);

  // Majorities are indexed by which planes the query flips: bit 0 says whether an odd number of them, bits 1 and 2
  // are those of the planes 1 and 2. So the same bit 0 indexes the parities.
  struct alignas(64) Table {
    Vec majority[groups][8];
    Vec parity[groups][2];
    Vec single[Words][2];  // the plane that is left over, and its complement
  };

 public:
  static constexpr int slices = together > parts_per_slice ? together / parts_per_slice : 1;  // looked at together
  static constexpr std::uint32_t rows = slices * rows_per_slice;

  // What a query takes from the tables. Offsets are computed from the 3 bits of each group when they are needed:
  // loading stored ones would take up the ports that load from the tables.
  struct Picks {
    Word indices[Words];  // bits 3 * g to 3 * g + 2: index into majority[g]; bit 63: index into single
    Word start[levels];   // the bits of 2^levels - threshold, as no or all ones

    void choose(const Word* query) {
      constexpr Word first_of_three = 0x1249249249249249;
      for (int w = 0; w < Words; ++w)
        indices[w] = query[w] ^ (query[w] >> 1 & first_of_three) ^ (query[w] >> 2 & first_of_three);
    }
    // 1 <= threshold <= 64 * Words
    void set_threshold(std::uint32_t threshold) {
      for (int level = 0; level < levels; ++level) start[level] = Word{0} - (((1u << levels) - threshold) >> level & 1);
    }
  };

  // Reads `rows` rows.
  void prepare(const Word* block) {
    for (int part = 0; part < parts_per_slice * slices; ++part) {
      const int slice = part / parts_per_slice, first_lane = part % parts_per_slice * L::lanes;
      Table& table = tables_[part];
      for (int w = 0; w < Words; ++w) {
        alignas(64) Vec planes[64];
        transpose(block + (slice * 64 * Words + w) * static_cast<int>(rows_per_block) + first_lane, planes);
        for (int g = 0; g < 21; ++g) fill_group(table, 21 * w + g, planes + 3 * g);
        table.single[w][0] = planes[63];
        table.single[w][1] = ~planes[63];
      }
    }
  }

  // Returns whether any row is nearer than the query's threshold. If so, bit j of masks[8 * s + l] is set if row
  // 512 * s + 8 * j + l is; otherwise masks are left alone.
  [[gnu::always_inline]] bool near(const Picks& picks, Word* masks) const {
    constexpr int n_parts = parts_per_slice * slices;
    Vec far[n_parts];
    for (int part = 0; part < n_parts; part += together) sum_up(&tables_[part], picks, far + part);
    Vec all = far[0];
    for (int part = 1; part < n_parts; ++part) all = all & far[part];
    if (__builtin_expect(!L::nonzero(~all), 1)) return false;
    for (int part = 0; part < n_parts; ++part) L::store(masks + part * L::lanes, ~far[part]);
    return true;
  }

 private:
  // 64 x 64 bits in each lane: bit j of planes[p] becomes bit p of planes[j] (Hacker's Delight, 7-3). Two passes of
  // three steps each, so that eight registers at a time stay in the processor.
  static void transpose(const Word* rows, Vec* planes) {
    constexpr int stride = Words * static_cast<int>(rows_per_block);
    for (int k = 0; k < 8; ++k) {
      Vec v[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) v[i] = L::load(rows + (k + 8 * i) * stride);
      exchange<4, 32>(v, 0x00000000FFFFFFFF);
      exchange<2, 16>(v, 0x0000FFFF0000FFFF);
      exchange<1, 8>(v, 0x00FF00FF00FF00FF);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) planes[k + 8 * i] = v[i];
    }
    for (int k = 0; k < 64; k += 8) {
      Vec v[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) v[i] = planes[k + i];
      exchange<4, 4>(v, 0x0F0F0F0F0F0F0F0F);
      exchange<2, 2>(v, 0x3333333333333333);
      exchange<1, 1>(v, 0x5555555555555555);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) planes[k + i] = v[i];
    }
  }
  template <int Distance, int Width>
  [[gnu::always_inline]] static void exchange(Vec* v, Word low) {
    const Vec mask = L::splat(low);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      if (i & Distance) continue;
      const Vec swapped = ((v[i] >> Width) ^ v[i + Distance]) & mask;
      v[i + Distance] = v[i + Distance] ^ swapped;
      v[i] = v[i] ^ (swapped << Width);
    }
  }

  static void fill_group(Table& table, int group, const Vec* plane) {
    const Vec parity = L::parity(plane[0], plane[1], plane[2]);
    table.parity[group][0] = parity;
    table.parity[group][1] = ~parity;
#pragma GCC unroll 4
    for (int index = 0; index < 4; ++index) {
      const Vec a = (index ^ index >> 1) & 1 ? ~plane[0] : plane[0];
      const Vec b = index & 2 ? ~plane[1] : plane[1];
      const Vec majority = L::majority(a, b, plane[2]);
      table.majority[group][index] = majority;
      table.majority[group][7 - index] = ~majority;  // flipping all three flips the majority
    }
  }

  // Running sums of `together` tables.
  struct Adders {
    Vec sum[levels][together];    // of each weight
    Vec held[levels][together];   // a carry that waits for its partner
    Vec ones[together];           // of weight 1: the second running sum
    Vec majorities[2][together];  // of weight 2: those of one word
    Vec top[together];            // the carry out of the last weight
  };

  // Entry `Bits` (of 1 or 3 bits at `At`) of `indices` in an array of tables[0], and the same of the others.
  template <int At, int Bits>
  [[gnu::always_inline]] static void pick(Word indices, const Vec* first, Vec* to) {
    constexpr int size_log2 = L::lanes == 8 ? 6 : L::lanes == 4 ? 5 : 4;
    static_assert(sizeof(Vec) == 1 << size_log2);
    const Word shifted = At < size_log2 ? indices << (size_log2 - At) : indices >> (At - size_log2);
    const char* entry = reinterpret_cast<const char*>(first) + (shifted & ((1u << Bits) - 1) * sizeof(Vec));
#pragma GCC unroll 4
    for (int t = 0; t < together; ++t) to[t] = L::load(reinterpret_cast<const Word*>(entry + t * sizeof(Table)));
  }
  [[gnu::always_inline]] static void add(Vec* sum, const Vec* a, const Vec* b, Vec* carry) {
#pragma GCC unroll 4
    for (int t = 0; t < together; ++t) carry[t] = L::full_add(sum[t], a[t], b[t]);
  }

  // The same with the carry after one operation instead of two, where others wait for it.
  [[gnu::always_inline]] static void add_soon(Vec* sum, const Vec* a, const Vec* b, Vec* carry) {
#pragma GCC unroll 4
    for (int t = 0; t < together; ++t) {
      carry[t] = L::majority(sum[t], a[t], b[t]);
      sum[t] = L::parity(sum[t], a[t], b[t]);
    }
  }

  // Carry number `Number` of a weight goes to the next: even ones wait, odd ones are added with them.
  template <int Level, int Number>
  [[gnu::always_inline]] static void pass(Adders& adders, const Vec* carry) {
    if constexpr (Level == levels) {
      for (int t = 0; t < together; ++t) adders.top[t] = carry[t];
    } else if constexpr (Number % 2 == 0) {
      for (int t = 0; t < together; ++t) adders.held[Level][t] = carry[t];
    } else {
      Vec next[together];
      add_soon(adders.sum[Level], adders.held[Level], carry, next);
      pass<Level + 1, Number / 2>(adders, next);
    }
  }

  template <int W, int Group>
  [[gnu::always_inline]] static void pick_majority(const Table* tables, const Picks& picks, Vec* to) {
    pick<3 * Group, 3>(picks.indices[W], tables->majority[21 * W + Group], to);
  }
  // Input of weight 1, `Number` < 22
  template <int W, int Number>
  [[gnu::always_inline]] static void pick_one(const Table* tables, const Picks& picks, Vec* to) {
    const Vec* array = Number < 21 ? tables->parity[21 * W + Number] : tables->single[W];
    pick<3 * Number, 1>(picks.indices[W], array, to);
  }

  // The 22 inputs of weight 1 and 21 of weight 2 of word `W`. Where registers suffice, each kind has two running sums
  // that meet at the end of the word: in one chain of dependent additions there would be too little to do at a time.
  template <int W>
  [[gnu::always_inline]] static void add_word(Adders& adders, const Table* tables, const Picks& picks) {
    if constexpr (two_chains) {
      pick_one<W, 21>(tables, picks, adders.ones);
      pick_majority<W, 19>(tables, picks, adders.majorities[1]);
    }
    pick_majority<W, 20>(tables, picks, adders.majorities[0]);
    add_pairs<W, 0>(adders, tables, picks);
    if constexpr (!two_chains) {
      pick_one<W, 21>(tables, picks, adders.ones);
      pick_majority<W, 19>(tables, picks, adders.majorities[1]);
    }
    Vec last[together], carry[together], next[together];
    pick_one<W, 20>(tables, picks, last);
    add(adders.sum[0], adders.ones, last, carry);
    pick_majority<W, 18>(tables, picks, last);
    add(adders.majorities[0], adders.majorities[1], last, next);
    pass<2, 16 * W + 14>(adders, next);
    add(adders.sum[1], carry, adders.majorities[0], next);
    pass<2, 16 * W + 15>(adders, next);
  }

  template <int W, int Pair>
  [[gnu::always_inline]] static void add_pairs(Adders& adders, const Table* tables, const Picks& picks) {
    constexpr int number = 16 * W + Pair + Pair / 2;  // of the next carry into weight 4; a word makes 16
    constexpr bool odd = Pair % 2 == 1, second = two_chains && odd;
    Vec a[together], b[together], carry[together], next[together];
    pick_one<W, 2 * Pair>(tables, picks, a);
    pick_one<W, 2 * Pair + 1>(tables, picks, b);
    add(second ? adders.ones : adders.sum[0], a, b, carry);
    if constexpr (odd) {
      add(adders.sum[1], adders.held[1], carry, next);
      pass<2, number>(adders, next);
    } else {
      for (int t = 0; t < together; ++t) adders.held[1][t] = carry[t];
    }
    if constexpr (Pair < 9) {
      pick_majority<W, 2 * Pair>(tables, picks, a);
      pick_majority<W, 2 * Pair + 1>(tables, picks, b);
      add(adders.majorities[second], a, b, carry);
      pass<2, number + odd>(adders, carry);
      add_pairs<W, Pair + 1>(adders, tables, picks);
    }
  }

  // Bits of rows whose distance is at least the threshold, for each of `together` tables.
  [[gnu::always_inline]] static void sum_up(const Table* tables, const Picks& picks, Vec* far) {
    Adders adders;
    for (int level = 0; level < levels; ++level)
      for (int t = 0; t < together; ++t) adders.sum[level][t] = L::splat(picks.start[level]);
    if constexpr (Words <= 2) {
      add_word<0>(adders, tables, picks);
      if constexpr (Words == 2) add_word<1>(adders, tables, picks);
    } else {
      // Two words make one carry into the last weight. Where it meets a 1 there, these words alone differ in enough
      // bits; if they do in all rows, the others need no look. (The test costs nothing while thresholds above
      // 2^levels / 2 keep it from succeeding, and skips half of the work where neighbours are much nearer than most.)
      add_word<0>(adders, tables, picks);
      add_word<1>(adders, tables, picks);
      static_assert(together == 1);
      far[0] = adders.sum[levels - 1][0] & adders.held[levels - 1][0];
      if (!L::nonzero(~far[0])) return;
      add_word<2>(adders, tables, picks);
      if constexpr (Words == 4) add_word<3>(adders, tables, picks);
      if constexpr (Words == 3) {
        // An odd number of carries came to the last weight but one.
        const Vec carry = adders.sum[levels - 2][0] & adders.held[levels - 2][0];
        adders.top[0] = L::full_add(adders.sum[levels - 1][0], adders.held[levels - 1][0], carry);
      }
    }
    for (int t = 0; t < together; ++t) far[t] = adders.top[t];
  }

  Table tables_[parts_per_slice * slices];
};

}  // namespace
}  // namespace simskip::kernels
