#include "simskip/segment_list.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <new>
#include <numeric>
#include <stdexcept>

#include "oracle.hpp"

namespace {

thread_local int allocations_left = 0;  // the one after the last of them fails; 0: none does

[[maybe_unused]] void* allocate(std::size_t size) {
  if (allocations_left > 0 && --allocations_left == 0) throw std::bad_alloc();
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// ThreadSanitizer brings an operator new that cannot be replaced.
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define SIMSKIP_FIXED_NEW
#endif
#endif

#ifndef SIMSKIP_FIXED_NEW
// For the whole program, but only FailingAllocation makes a difference.
void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
#endif

namespace simskip::testing {
namespace {

// While it lives, this thread's nth allocation by `new` fails.
class FailingAllocation {
 public:
  explicit FailingAllocation(int nth) { allocations_left = nth; }
  ~FailingAllocation() { allocations_left = 0; }
  FailingAllocation(const FailingAllocation&) = delete;
  bool reached() const { return allocations_left == 0; }
};

using Ids = std::vector<std::int64_t>;
using Model = std::map<std::int64_t, std::vector<std::uint8_t>>;

std::vector<std::uint8_t> code_of(const PackedCodes& codes, std::size_t i) {
  return {codes.row(i), codes.row(i) + bytes_per_code(codes.n_bits)};
}

Model content(const SegmentList& list) {
  Model model;
  std::int64_t last = -1;
  list.for_each_run([&](std::size_t s, std::size_t begin, std::size_t end) {
    const Segment& segment = *list.segments()[s];
    for (std::size_t row = begin; row < end; ++row) {
      if (!segment.is_live(row)) continue;
      EXPECT_GT(segment.id_of(row), last);
      last = segment.id_of(row);
      model[last].resize(bytes_per_code(list.n_bits()));
      segment.codes().read(row, model[last].data());
    }
    return true;
  });
  return model;
}

void expect_sound(const SegmentList& list) {
  std::size_t live = 0;
  for (const auto& segment : list.segments()) {
    live += segment->live();
    EXPECT_GT(segment->live(), 0u);
    EXPECT_LE(segment->dead(), segment->size() / 4);
    std::size_t marked = 0;
    for (std::size_t row = 0; row < segment->size(); ++row) marked += segment->is_live(row);
    EXPECT_EQ(marked, segment->live());
    EXPECT_EQ(segment->marks() == nullptr, segment->dead() == 0);
  }
  EXPECT_EQ(live, list.size());
}

TEST(SegmentList, RandomChangesEqualThoseOfAMap) {
  for (unsigned seed = 0; seed < 6; ++seed) {
    std::mt19937 engine(seed);
    const int bits = seed % 2 ? 64 : 130;
    SegmentList list(bits);
    Model model;
    for (int step = 0; step < 150; ++step) {
      const std::size_t n = engine() % (step % 10 ? 30 : 900);
      const PackedCodes codes = make_codes(Kind::random, bits, n, engine());
      const std::int64_t start =
          engine() % 3 ? static_cast<std::int64_t>(engine() % 5000) : (model.empty() ? 0 : model.rbegin()->first + 1);
      Ids ids(n);
      std::iota(ids.begin(), ids.end(), start);
      if (engine() % 2) std::shuffle(ids.begin(), ids.end(), engine);
      const auto known = [&](std::int64_t id) { return model.count(id) > 0; };
      switch (engine() % 4) {
        case 0:
          if (std::any_of(ids.begin(), ids.end(), known)) {
            EXPECT_THROW(list.add(codes.bytes.data(), ids.data(), n), std::invalid_argument);
          } else {
            list.add(codes.bytes.data(), ids.data(), n);
            for (std::size_t i = 0; i < n; ++i) model[ids[i]] = code_of(codes, i);
          }
          break;
        case 1:
          list.upsert(codes.bytes.data(), ids.data(), n);
          for (std::size_t i = 0; i < n; ++i) model[ids[i]] = code_of(codes, i);
          break;
        default:
          if (!std::all_of(ids.begin(), ids.end(), known)) {
            EXPECT_THROW(list.remove(ids.data(), n), std::invalid_argument);
            ids.erase(std::remove_if(ids.begin(), ids.end(), [&](auto id) { return !known(id); }), ids.end());
          }
          list.remove(ids.data(), ids.size());
          for (const auto id : ids) model.erase(id);
      }
      if (step % 13 == 0 && !list.empty()) list.segments()[engine() % list.segments().size()]->seal();
      expect_sound(list);
      ASSERT_EQ(content(list), model);
      for (int i = 0; i < 20; ++i) {
        const auto id = static_cast<std::int64_t>(engine() % 6000);
        ASSERT_EQ(list.find(id).segment != nullptr, model.count(id) > 0);
      }
    }
  }
}

TEST(SegmentList, IdsGivenTwiceAreRefused) {
  SegmentList list(8);
  const std::uint8_t codes[3] = {};
  const Ids twice = {4, 2, 4};
  EXPECT_THROW(list.add(codes, twice.data(), 3), std::invalid_argument);
  EXPECT_THROW(list.upsert(codes, twice.data(), 3), std::invalid_argument);
  list.add(codes, twice.data(), 2);
  EXPECT_THROW(list.remove(twice.data(), 3), std::invalid_argument);
  EXPECT_EQ(list.size(), 2u);
}

// What makes changes cheap: few segments, whatever the order of the ids.
TEST(SegmentList, SegmentsStayFew) {
  const std::size_t n = 60000;
  Ids ids(n);
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), std::mt19937(1));
  SegmentList list(64);
  const PackedCodes codes = make_codes(Kind::random, 64, n, 1);
  std::size_t most = 0;
  for (std::size_t i = 0; i < n; ++i) {
    list.add(codes.row(i), &ids[i], 1);
    most = std::max(most, list.segments().size());
  }
  EXPECT_LE(most, 6u);  // 512 codes, then at least four times as many each
  EXPECT_EQ(list.size(), n);
  for (std::size_t i = 0; i < n; i += 997) EXPECT_NE(list.find(ids[i]).segment, nullptr);
  for (std::size_t i = 0; i < n; ++i) list.remove(&ids[i], 1);
  EXPECT_TRUE(list.empty());
  EXPECT_TRUE(list.segments().empty());
}

TEST(SegmentList, AscendingIdsGrowOneSegment) {
  SegmentList list(64);
  const PackedCodes codes = make_codes(Kind::random, 64, 1000, 1);
  for (std::int64_t id = 0; id < 1000; ++id) list.add(codes.row(static_cast<std::size_t>(id)), &id, 1);
  ASSERT_EQ(list.segments().size(), 1u);
  EXPECT_EQ(list.segments()[0]->nbytes_of_ids(), 0u);
  const std::int64_t later = 5000;
  list.add(codes.row(0), &later, 1);
  EXPECT_EQ(list.segments().size(), 1u);
}

// A sealed segment's codes stay as they are while somebody reads them.
TEST(SegmentList, SealedSegmentsAreNotWrittenTo) {
  const std::size_t n = 2000;
  SegmentList list(64);
  const PackedCodes codes = make_codes(Kind::random, 64, n, 1), other = make_codes(Kind::random, 64, n, 2);
  Ids ids(n);
  std::iota(ids.begin(), ids.end(), 0);
  list.add(codes.bytes.data(), ids.data(), n);
  const std::shared_ptr<const Segment> sealed = list.segments()[0];
  list.segments()[0]->seal();
  list.upsert(other.bytes.data(), ids.data(), 300);
  Ids more(300);
  std::iota(more.begin(), more.end(), static_cast<std::int64_t>(n));
  list.add(other.bytes.data(), more.data(), 300);
  EXPECT_EQ(sealed->size(), n);
  std::uint64_t code;
  for (std::size_t i = 0; i < n; ++i) {
    sealed->codes().read(i, reinterpret_cast<std::uint8_t*>(&code));
    ASSERT_EQ(std::memcmp(&code, codes.row(i), 8), 0);
  }
  EXPECT_EQ(sealed->dead(), 300u);
  EXPECT_EQ(list.size(), n + 300);
}

// Whichever allocation fails, the change happened whole or not at all.
TEST(SegmentList, ChangesWithoutMemoryChangeNothing) {
#ifdef SIMSKIP_FIXED_NEW
  GTEST_SKIP() << "allocations cannot be made to fail here";
#endif
  const std::size_t n = 700;
  const PackedCodes codes = make_codes(Kind::random, 64, 2 * n, 1);
  Ids first(n), mixed;
  std::iota(first.begin(), first.end(), 100);
  for (std::int64_t id = 60; id < 140; ++id) mixed.push_back(id);
  const Ids few(first.begin() + 50, first.begin() + 300), below = {3, 1, 2};
  using Change = std::function<void(SegmentList&)>;
  const std::vector<Change> changes = {
      [&](SegmentList& list) { list.add(codes.row(n), below.data(), below.size()); },
      [&](SegmentList& list) { list.upsert(codes.row(n), mixed.data(), mixed.size()); },
      [&](SegmentList& list) { list.remove(few.data(), few.size()); },
  };
  for (const bool sealed : {false, true})
    for (const Change& change : changes) {
      int failures = 0;
      for (int allocation = 1;; ++allocation) {
        SegmentList list(64);
        list.add(codes.bytes.data(), first.data(), n);
        if (sealed) list.segments()[0]->seal();
        const Model before = content(list);
        bool failed = false;
        {
          const FailingAllocation failing(allocation);
          try {
            change(list);
          } catch (const std::bad_alloc&) {
            failed = true;
          }
          if (!failed && !failing.reached()) break;
        }
        failures += failed;
        std::size_t live = 0;
        for (const auto& segment : list.segments()) live += segment->live();
        EXPECT_EQ(live, list.size());
        if (failed) {
          EXPECT_EQ(content(list), before) << allocation;
        } else {  // it was one that could be done without
          EXPECT_NE(content(list), before) << allocation;
        }
      }
      EXPECT_GT(failures, 0);
    }
}

}  // namespace
}  // namespace simskip::testing
