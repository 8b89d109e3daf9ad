// Sums of table entries chosen by the nibbles of codes, once for all instruction sets that can look up 16 bytes in one
// instruction ("fast scan": André, Kermarrec, Le Scouarnec, VLDB 2015). Besides `Lanes` of scan.hpp a file supplies
// `Bytes`:
//
//   Vec, width            a register of `width` bytes (16, 32 or 64)
//   zero, load            memory, aligned to the register
//   table                 16 bytes, repeated
//   lookup                entry of the table at each byte (each below 16)
//   add, add_saturated    byte by byte
//   add16, sub16, left8, right8   the same register as 16-bit numbers: sum, difference, shifts by a byte
//   near                  a bit per byte: byte <= limit
//   near16                a bit per byte: `even` (the even bytes' sums) or `odd` <= limit
//   splat, splat16        a limit everywhere
//
// Everything is in an anonymous namespace: code built with one file's -m flags must not serve another's calls.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "scan.hpp"

namespace simskip::kernels {
namespace {

// Swaps blocks of Width bits, so that three steps of 32, 16 and 8 transpose 8 x 8 bytes in each lane (Hacker's Delight,
// 7-3): byte b of word[j] becomes byte j of word[b].
template <class L, int Width>
[[gnu::always_inline]] inline void swap_blocks(typename L::Vec* word, Word low) {
  constexpr int apart = Width / 8;
  const typename L::Vec mask = L::splat(low);
#pragma GCC unroll 4
  for (int first = 0; first < 8; first += 2 * apart)
#pragma GCC unroll 4
    for (int k = first; k < first + apart; ++k) {
      const typename L::Vec swapped = ((word[k] >> Width) ^ word[k + apart]) & mask;
      word[k + apart] = word[k + apart] ^ swapped;
      word[k] = word[k] ^ (swapped << Width);
    }
}

// Rows [scan.begin, scan.end) as nibble planes, see kernels.hpp.
template <class L>
void split_nibbles(const Scan& scan, std::uint8_t* planes) {
  using Vec = typename L::Vec;
  const Vec low = L::splat(0x0F0F0F0F0F0F0F0F);
  const std::uint64_t block_words = static_cast<std::uint64_t>(rows_per_block) * scan.words;
  for (std::uint32_t row = scan.begin; row < scan.end; row += rows_per_group) {
    const Word* group = scan.blocks + row / rows_per_block * block_words;
    for (std::uint32_t w = 0; w < scan.words; ++w, planes += nibbles_per_word * rows_per_group) {
      for (std::uint32_t lane = 0; lane < rows_per_block; lane += L::lanes) {
        Vec bytes[8];
#pragma GCC unroll 8
        for (int b = 0; b < 8; ++b)
          bytes[b] = L::load(group + static_cast<std::uint32_t>(b) * block_words + w * rows_per_block + lane);
        swap_blocks<L, 32>(bytes, 0x00000000FFFFFFFF);
        swap_blocks<L, 16>(bytes, 0x0000FFFF0000FFFF);
        swap_blocks<L, 8>(bytes, 0x00FF00FF00FF00FF);
        Word* out = reinterpret_cast<Word*>(planes) + lane;
#pragma GCC unroll 8
        for (int b = 0; b < 8; ++b) {
          L::store(out + (2 * b) * rows_per_block, bytes[b] & low);
          L::store(out + (2 * b + 1) * rows_per_block, (bytes[b] >> 4) & low);
        }
      }
    }
  }
}

template <class B, int Groups, bool Wide>
[[gnu::always_inline]] inline Word near_groups(const std::uint8_t* planes, std::uint32_t words,
                                               const std::uint8_t* tables, std::uint32_t limit, Word* masks) {
  using Vec = typename B::Vec;
  constexpr int parts = static_cast<int>(rows_per_group) / B::width;
  constexpr int registers = Groups * parts;
  const std::uint64_t group_bytes = static_cast<std::uint64_t>(words) * nibbles_per_word * rows_per_group;
  const auto looked_up = [&](Vec table, int r, int nibble) {
    return B::lookup(table, B::load(planes + static_cast<std::uint64_t>(r / parts) * group_bytes +
                                    static_cast<std::uint32_t>(nibble) * rows_per_group + r % parts * B::width));
  };
  Vec sum[registers], odd[registers];
  for (int r = 0; r < registers; ++r) sum[r] = odd[r] = B::zero();
  for (std::uint32_t w = 0; w < words; ++w) {
    if constexpr (!Wide) {
#pragma GCC unroll 16
      for (int j = 0; j < static_cast<int>(nibbles_per_word); ++j) {
        const Vec table = B::table(tables + 16 * j);
#pragma GCC unroll 8
        for (int r = 0; r < registers; ++r) sum[r] = B::add_saturated(sum[r], looked_up(table, r, j));
      }
    } else {
      // Four entries of at most wide_entry fit into a byte. `sum` adds up both bytes of a 16-bit number, modulo 2^16;
      // what the odd ones contributed is taken away in the end.
      static_assert(4 * wide_entry < 256);
#pragma GCC unroll 4
      for (int j = 0; j < static_cast<int>(nibbles_per_word); j += 4) {
        Vec four[registers];
        for (int i = 0; i < 4; ++i) {
          const Vec table = B::table(tables + 16 * (j + i));
#pragma GCC unroll 8
          for (int r = 0; r < registers; ++r) {
            const Vec entry = looked_up(table, r, j + i);
            four[r] = i ? B::add(four[r], entry) : entry;
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < registers; ++r) {
          sum[r] = B::add16(sum[r], four[r]);
          odd[r] = B::add16(odd[r], B::right8(four[r]));
        }
      }
    }
    planes += nibbles_per_word * rows_per_group;
    tables += 16 * nibbles_per_word;
  }
  Word any = 0;
#pragma GCC unroll 8
  for (int g = 0; g < Groups; ++g) {
    Word mask = 0;
#pragma GCC unroll 4
    for (int p = 0; p < parts; ++p) {
      const int r = g * parts + p;
      if constexpr (Wide)
        mask |= B::near16(B::sub16(sum[r], B::left8(odd[r])), odd[r], B::splat16(limit)) << (p * B::width % 64);
      else
        mask |= B::near(sum[r], B::splat(limit)) << (p * B::width % 64);
    }
    masks[g] = mask;
    any |= static_cast<Word>(mask != 0) << g;
  }
  return any;
}

template <class B, bool Wide>
[[gnu::noinline]] Word near_all(const Nibbles& nibbles, const std::uint8_t* tables, std::uint32_t limit, Word* masks) {
  // Four registers of rows share each table that is loaded.
  constexpr std::uint32_t together = 4 * B::width / rows_per_group;
  const std::uint64_t group_bytes = static_cast<std::uint64_t>(nibbles.words) * nibbles_per_word * rows_per_group;
  Word any = 0;
  std::uint32_t g = 0;
  for (; g + together <= nibbles.groups; g += together)
    any |= near_groups<B, together, Wide>(nibbles.planes + g * group_bytes, nibbles.words, tables, limit, masks + g)
           << g;
  for (; g < nibbles.groups; ++g)
    any |= near_groups<B, 1, Wide>(nibbles.planes + g * group_bytes, nibbles.words, tables, limit, masks + g) << g;
  return any;
}

template <class B>
Word near_nibbles(const Nibbles& nibbles, const std::uint8_t* tables, std::uint32_t limit, Word* masks) {
  return (nibbles.words > narrow_words ? near_all<B, true> : near_all<B, false>)(nibbles, tables, limit, masks);
}

}  // namespace
}  // namespace simskip::kernels
