#include "simskip/hamming_index.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <thread>

#include "oracle.hpp"
#include "simskip/section_file.hpp"

namespace simskip::testing {
namespace {

using Ids = std::vector<std::int64_t>;
using Model = std::map<std::int64_t, std::vector<std::uint8_t>>;

std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("simskip-" + std::to_string(::getpid()) + "-" + name)).string();
}

void expect_model(const HammingIndex& index, const Model& model, unsigned seed) {
  Ids ids;
  PackedCodes codes(index.n_bits(), model.size());
  for (const auto& [id, code] : model) {
    std::copy(code.begin(), code.end(), codes.row(ids.size()));
    ids.push_back(id);
  }
  ASSERT_EQ(index.size(), model.size());
  ASSERT_EQ(index.ids(), ids);
  ASSERT_EQ(index.codes(nullptr, 0), codes.bytes);
  if (model.empty()) return;
  const PackedCodes queries = make_codes(Kind::random, index.n_bits(), 2, seed);
  Neighbors expected = oracle_top_k(codes, queries, 7, {});
  for (auto& id : expected.ids)
    if (id != no_id) id = ids[static_cast<std::size_t>(id)];
  const Neighbors found = index.search(queries.bytes.data(), queries.n, 7, {});
  ASSERT_EQ(found.ids, expected.ids);
  ASSERT_EQ(found.distances, expected.distances);
}

TEST(HammingIndex, RefusesImpossibleBitCounts) {
  EXPECT_THROW(HammingIndex(0), std::invalid_argument);
  EXPECT_THROW(HammingIndex(-1), std::invalid_argument);
  EXPECT_THROW(HammingIndex(max_bits + 1), std::invalid_argument);
  EXPECT_THROW(HammingIndex(8, -1), std::invalid_argument);
}

// Random changes against a map; ids from a small range, so that they meet, fill gaps and become 0 ... n - 1.
TEST(HammingIndex, ChangesEqualThoseOfAMap) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 engine(seed);
    const int bits = std::vector<int>{3, 64, 70, 300}[seed % 4];
    HammingIndex index(bits);
    Model model;
    std::int64_t next_id = 0;
    for (int step = 0; step < 60; ++step) {
      const std::size_t n = engine() % 6;
      const PackedCodes codes = make_codes(Kind::random, bits, n, engine());
      Ids ids;
      while (ids.size() < n) {
        const auto id = static_cast<std::int64_t>(engine() % 40);
        if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
      }
      const auto code = [&](std::size_t i) {
        return std::vector<std::uint8_t>(codes.row(i), codes.row(i) + bytes_per_code(bits));
      };
      const bool any = std::any_of(ids.begin(), ids.end(), [&](auto id) { return model.count(id) > 0; });
      const bool all = std::all_of(ids.begin(), ids.end(), [&](auto id) { return model.count(id) > 0; });
      switch (engine() % 5) {
        case 0:
          index.add(codes.bytes.data(), nullptr, n);
          for (std::size_t i = 0; i < n; ++i) model[next_id++] = code(i);
          break;
        case 1:
          if (any) {
            EXPECT_THROW(index.add(codes.bytes.data(), ids.data(), n), std::invalid_argument);
          } else {
            index.add(codes.bytes.data(), ids.data(), n);
            for (std::size_t i = 0; i < n; ++i) model[ids[i]] = code(i);
          }
          break;
        case 2:
        case 3:
          if (all) {
            index.remove(ids.data(), n);
            for (const auto id : ids) model.erase(id);
          } else {
            EXPECT_THROW(index.remove(ids.data(), n), std::invalid_argument);
            Ids known;
            for (const auto id : ids)
              if (model.erase(id)) known.push_back(id);
            index.remove(known.data(), known.size());
          }
          break;
        default:
          index.upsert(codes.bytes.data(), ids.data(), n);
          for (std::size_t i = 0; i < n; ++i) model[ids[i]] = code(i);
      }
      if (!model.empty()) next_id = std::max(next_id, model.rbegin()->first + 1);
      ASSERT_EQ(index.next_id(), next_id);
      expect_model(index, model, engine());
      if (HasFatalFailure()) return;
    }
  }
}

TEST(HammingIndex, FullRangesOfIdsTakeNoMemory) {
  const PackedCodes codes = make_codes(Kind::random, 64, 128, 1);
  HammingIndex index(64);
  Ids odd, even;
  for (std::int64_t i = 0; i < 64; ++i) {
    even.push_back(2 * i);
    odd.push_back(2 * i + 1);
  }
  index.add(codes.bytes.data(), even.data(), 64);
  EXPECT_EQ(index.sizes().nbytes(), 64u * 8 + 64 * 8);
  index.add(codes.row(64), odd.data(), 64);
  EXPECT_EQ(index.sizes().nbytes(), 128u * 8);
}

TEST(HammingIndex, LargestIdsNeverWrapAround) {
  const PackedCodes codes = make_codes(Kind::random, 8, 4, 1);
  HammingIndex index(8);
  const Ids largest = {HammingIndex::max_id};
  const Ids too_large = {std::numeric_limits<std::int64_t>::max()};
  const Ids three = {3};
  EXPECT_THROW(index.add(codes.bytes.data(), too_large.data(), 1), std::invalid_argument);
  EXPECT_THROW(index.upsert(codes.bytes.data(), too_large.data(), 1), std::invalid_argument);
  index.add(codes.bytes.data(), three.data(), 1);
  index.add(codes.bytes.data(), largest.data(), 1);
  EXPECT_THROW(index.add(codes.bytes.data(), nullptr, 1), std::invalid_argument);
  EXPECT_EQ(index.size(), 2u);
  index.add(codes.bytes.data(), nullptr, 0);
  const std::string path = temporary("largest");
  index.save(path);
  EXPECT_EQ(HammingIndex::load(path, false)->ids(), (Ids{3, HammingIndex::max_id}));
  std::filesystem::remove(path);
}

TEST(HammingIndex, FiltersSparseAndDense) {
  const std::size_t n = 2000;
  const PackedCodes codes = make_codes(Kind::clustered, 48, n, 2), queries = make_codes(Kind::clustered, 48, 3, 3);
  HammingIndex index(48);
  Ids ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int64_t>(i) * 5 + 1);
  index.add(codes.bytes.data(), ids.data(), n);
  for (const std::size_t every : {std::size_t{1}, std::size_t{3}, std::size_t{40}, n, n + 1}) {
    Ids where;
    std::vector<std::uint64_t> allowed(CodeBlocks::padded_rows(n) / 64);
    for (std::size_t i = every - 1; i < n; i += every) {
      where.push_back(ids[i]);
      allowed[i / 64] |= std::uint64_t{1} << (i % 64);
    }
    SearchOptions plain;
    plain.allowed = allowed.data();
    Neighbors expected = oracle_top_k(codes, queries, 60, plain);
    for (auto& id : expected.ids)
      if (id != no_id) id = ids[static_cast<std::size_t>(id)];
    IndexOptions options;
    const Filter filter{where.data(), nullptr, where.size()};
    options.where = &filter;
    const Neighbors found = index.search(queries.bytes.data(), queries.n, 60, options);
    EXPECT_EQ(found.ids, expected.ids) << every;
    EXPECT_EQ(found.distances, expected.distances) << every;
    options.max_distance = 48;
    EXPECT_EQ(index.range_search(queries.bytes.data(), 1, options).ids.size(), where.size());
    const std::vector<float> outputs(48, 1.0f);
    const FloatNeighbors weighted = index.search_asymmetric(outputs.data(), 1, n, options);
    EXPECT_EQ(static_cast<std::size_t>(std::count(weighted.ids.begin(), weighted.ids.end(), -1)), n - where.size());
  }
  const Ids unknown = {2};
  IndexOptions options;
  const Filter filter{unknown.data(), nullptr, 1};
  options.where = &filter;
  EXPECT_THROW(index.search(queries.bytes.data(), 1, 1, options), std::invalid_argument);
}

TEST(HammingIndex, EmptyIndexThrowsOnSearch) {
  const HammingIndex index(8);
  const std::uint8_t query = 0;
  const float outputs[8] = {};
  EXPECT_THROW(index.search(&query, 1, 1, {}), std::invalid_argument);
  EXPECT_THROW(index.range_search(&query, 1, {}), std::invalid_argument);
  EXPECT_THROW(index.search_asymmetric(outputs, 1, 1, {}), std::invalid_argument);
}

TEST(HammingIndex, SavesAndLoadsAllOfIt) {
  const std::string path = temporary("index");
  for (const int bits : {1, 64, 100, 4096})
    for (const std::size_t n : {0, 1, 63, 64, 65, 300})
      for (const bool implicit : {true, false})
        for (const bool map : {true, false}) {
          const PackedCodes codes = make_codes(Kind::random, bits, n, 4);
          HammingIndex index(bits);
          Ids ids;
          for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int64_t>(i) + (implicit ? 0 : 9));
          index.add(codes.bytes.data(), ids.data(), n);
          if (n > 1) index.remove(&ids[n - 1], 1);  // its id is not given again
          index.save(path);
          const auto loaded = HammingIndex::load(path, map);
          ASSERT_EQ(loaded->n_bits(), bits);
          ASSERT_EQ(loaded->next_id(), index.next_id());
          ASSERT_EQ(loaded->ids(), index.ids());
          ASSERT_EQ(loaded->codes(nullptr, 0), index.codes(nullptr, 0));
          loaded->add(codes.bytes.data(), nullptr, n);  // copies what is mapped
          ASSERT_EQ(loaded->size(), index.size() + n);
          loaded->save(path);  // over the mapped file
          ASSERT_EQ(HammingIndex::load(path, map)->ids(), loaded->ids());
        }
  std::filesystem::remove(path);
}

// Files with right checksums and wrong content.
TEST(HammingIndex, ImpossibleFilesAreRefused) {
  const std::string path = temporary("forged");
  std::vector<std::uint64_t> codes(64);
  const auto load = [&](std::vector<std::int64_t> header, std::size_t code_words, Ids ids) {
    write_sections(path, "hamming",
                   {{"header", header.data(), header.size() * 8},
                    {"codes", codes.data(), code_words * 8},
                    {"ids", ids.data(), ids.size() * 8}});
    HammingIndex::load(path, false);
  };
  const std::int64_t most = std::numeric_limits<std::int64_t>::max(), least = std::numeric_limits<std::int64_t>::min();
  EXPECT_NO_THROW(load({64, 2, 10}, 64, {3, 9}));
  codes[1] = std::uint64_t{1} << 60;
  EXPECT_NO_THROW(load({61, 2, 10}, 64, {3, 9}));
  EXPECT_THROW(load({60, 2, 10}, 64, {3, 9}), FormatError);
  codes[1] = 0;
  EXPECT_THROW(load({64, 2}, 64, {3, 9}), FormatError);
  EXPECT_THROW(load({64, 2, 10, 1}, 64, {3, 9}), FormatError);
  for (const std::int64_t bits : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{65}, std::int64_t{4097}, most, least})
    EXPECT_THROW(load({bits, 2, 10}, 64, {3, 9}), FormatError) << bits;
  for (const std::int64_t n :
       {std::int64_t{1}, std::int64_t{3}, std::int64_t{65}, std::int64_t{0xFFFFFFC0}, most, least})
    EXPECT_THROW(load({64, n, 10}, 64, {3, 9}), FormatError) << n;
  for (const std::int64_t next_id : {std::int64_t{0}, std::int64_t{9}, least})
    EXPECT_THROW(load({64, 2, next_id}, 64, {3, 9}), FormatError) << next_id;
  EXPECT_THROW(load({64, 2, most}, 64, {3, most}), FormatError);
  EXPECT_THROW(load({64, 2, 10}, 64, {9, 3}), FormatError);
  EXPECT_THROW(load({64, 2, 10}, 64, {3, 3}), FormatError);
  EXPECT_THROW(load({64, 2, 10}, 64, {-1, 3}), FormatError);
  EXPECT_THROW(load({64, 2, 10}, 64, {3}), FormatError);
  EXPECT_THROW(load({64, 2, 10}, 63, {3, 9}), FormatError);
  EXPECT_THROW(load({64, 0, 10}, 0, {3}), FormatError);
  EXPECT_NO_THROW(load({64, 0, 10}, 0, {}));
  std::filesystem::remove(path);
}

// Searches beside a writer that swaps between two states: each answer is one state's or the other's.
TEST(HammingIndex, SearchesSeeTheStateBeforeOrAfterAChange) {
  const std::size_t n = 3000, m = 64;
  const PackedCodes codes = make_codes(Kind::random, 64, n, 5), near = make_codes(Kind::all_equal, 64, m, 6);
  HammingIndex index(64);
  Ids kept, swapped;
  for (std::size_t i = 0; i < n; ++i) kept.push_back(static_cast<std::int64_t>(2 * i));
  for (std::size_t i = 0; i < m; ++i) swapped.push_back(static_cast<std::int64_t>(2 * i + 1));
  index.add(codes.bytes.data(), kept.data(), n);
  const Neighbors without = index.search(near.row(0), 1, 25, {});
  index.add(near.bytes.data(), swapped.data(), m);
  const Neighbors with = index.search(near.row(0), 1, 25, {});
  ASSERT_NE(without.ids, with.ids);

  std::atomic<bool> stop{false};
  std::atomic<int> torn{0}, seen_with{0}, seen_without{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t)
    readers.emplace_back([&] {
      IndexOptions options;
      options.threads = 1;
      while (!stop.load()) {
        const Neighbors found = index.search(near.row(0), 1, 25, options);
        if (found.ids == with.ids && found.distances == with.distances)
          ++seen_with;
        else if (found.ids == without.ids && found.distances == without.distances)
          ++seen_without;
        else
          ++torn;
      }
    });
  for (int round = 0; round < 200 || ((!seen_with || !seen_without) && round < 100000); ++round) {
    index.remove(swapped.data(), m);
    std::this_thread::yield();
    index.add(near.bytes.data(), swapped.data(), m);
    std::this_thread::yield();
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(torn.load(), 0);
  EXPECT_GT(seen_with.load(), 0);
  EXPECT_GT(seen_without.load(), 0);
}

// Segments of several kinds: indexed, with tombstones, small and new.
std::unique_ptr<HammingIndex> with_history(const PackedCodes& codes, const Ids& ids, Method method) {
  auto index = std::make_unique<HammingIndex>(codes.n_bits, 0, method);
  const std::size_t half = codes.n / 2;
  const PackedCodes other = make_codes(Kind::random, codes.n_bits, codes.n, 99);
  index->add(other.bytes.data(), ids.data(), half);
  if (method != Method::scan) index->build(1, nullptr);
  index->upsert(codes.bytes.data(), ids.data(), half);
  index->add(codes.row(half), ids.data() + half, codes.n - half);
  return index;
}

TEST(HammingIndex, EveryMethodAndHistoryGivesTheSame) {
  const std::size_t n = 5000;
  const PackedCodes codes = make_codes(Kind::clustered, 64, n, 1), queries = make_codes(Kind::clustered, 64, 40, 2);
  Ids ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int64_t>(i * 7919 % 5003) * 3);
  const auto plain = with_history(codes, ids, Method::scan);
  IndexOptions near;
  near.max_distance = 3;
  const Neighbors expected = plain->search(queries.bytes.data(), queries.n, 20, {});
  const Range expected_range = plain->range_search(queries.bytes.data(), queries.n, near);
  const Neighbors expected_graph = plain->knn_graph(3, {});
  const HammingIndex::Groups expected_groups = plain->duplicates(near);
  EXPECT_EQ(plain->stats().by_index.load(), 0u);
  for (const Method method : {Method::automatic, Method::multi_index}) {
    const auto index = with_history(codes, ids, method);
    if (method == Method::automatic) index->build(2, nullptr);
    const Neighbors found = index->search(queries.bytes.data(), queries.n, 20, {});
    EXPECT_EQ(found.ids, expected.ids);
    EXPECT_EQ(found.distances, expected.distances);
    const Range range = index->range_search(queries.bytes.data(), queries.n, near);
    EXPECT_EQ(range.limits, expected_range.limits);
    EXPECT_EQ(range.ids, expected_range.ids);
    EXPECT_EQ(range.distances, expected_range.distances);
    EXPECT_EQ(index->knn_graph(3, {}).ids, expected_graph.ids);
    EXPECT_EQ(index->duplicates(near).ids, expected_groups.ids);
    EXPECT_EQ(index->duplicates(near).limits, expected_groups.limits);
    EXPECT_GT(index->sizes().substrings, 0u);
    EXPECT_GT(index->sizes().multi_index, 0u);
    EXPECT_TRUE(method == Method::automatic || index->stats().by_index.load() > 0);
  }
}

// An index of its own accord: not for few codes or few queries, but once scans have cost as much.
TEST(HammingIndex, ScansPayForAnIndex) {
  const std::size_t n = 1 << 20;
  PackedCodes codes = make_codes(Kind::random, 64, 2000, 3);
  const PackedCodes few = make_codes(Kind::random, 64, 1, 4), queries = make_codes(Kind::random, 64, 100, 4);
  HammingIndex index(64), never(64, 0, Method::scan);
  // Clusters, for which probing pays.
  codes.bytes.resize(n * 8);
  for (std::size_t i = 2000; i < n; ++i) {
    std::copy_n(codes.row(i % 2000), 8, codes.row(i));
    codes.flip(i, static_cast<int>(i / 2000 % 64));
  }
  index.add(codes.bytes.data(), nullptr, n);
  never.add(codes.bytes.data(), nullptr, n);
  index.search(codes.row(7), 1, 10, {});
  EXPECT_EQ(index.sizes().multi_index, 0u);
  int rounds = 0;
  while (index.sizes().multi_index == 0 && ++rounds < 300) index.search(codes.row(0), 100, 10, {});
  EXPECT_GT(rounds, 1);
  EXPECT_LT(rounds, 300);
  never.search(codes.row(0), 100, 10, {});
  EXPECT_EQ(never.sizes().multi_index, 0u);
  const auto by_scan = index.stats().by_scan.load();
  const Neighbors found = index.search(codes.row(0), 100, 10, {}), expected = never.search(codes.row(0), 100, 10, {});
  EXPECT_EQ(found.ids, expected.ids);
  EXPECT_EQ(index.stats().by_scan.load(), by_scan);
  // New codes are scanned beside it until they are many.
  index.add(few.bytes.data(), nullptr, 1);
  EXPECT_EQ(index.search(few.bytes.data(), 1, 1, {}).ids, Ids{static_cast<std::int64_t>(n)});
  EXPECT_EQ(index.sizes().segments, 2u);
  EXPECT_GT(index.sizes().substrings, 0u);
}

TEST(HammingIndex, EachQueryHasAFilterOfItsOwn) {
  const std::size_t n = 900, n_queries = 60;
  const PackedCodes codes = make_codes(Kind::clustered, 48, n, 2), queries = make_codes(Kind::clustered, 48, 60, 3);
  Ids ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int64_t>(i * 7) % 907);
  const auto index = with_history(codes, ids, Method::automatic);
  // Few filters are searched one after the other, many side by side.
  for (const std::size_t n_filters : {std::size_t{2}, std::size_t{30}}) {
    std::vector<Ids> lists(n_filters);
    std::vector<std::unique_ptr<bool[]>> masks;
    QueryFilters each;
    const Ids present = index->ids();
    for (std::size_t f = 0; f < n_filters; ++f) {
      masks.push_back(std::make_unique<bool[]>(n));
      for (std::size_t i = 0; i < n; ++i) {
        masks[f][i] = present[i] % static_cast<std::int64_t>(f + 1) == 0;
        if (masks[f][i]) lists[f].push_back(present[i]);
      }
      if (f % 2)
        each.filters.push_back({nullptr, masks[f].get(), n});
      else
        each.filters.push_back({lists[f].data(), nullptr, lists[f].size()});
    }
    for (std::size_t q = 0; q < n_queries; ++q)
      each.of_query.push_back(static_cast<std::int32_t>(q % (n_filters + 1)) - 1);
    IndexOptions options;
    options.each = &each;
    options.threads = 3;
    Interrupt interrupt([] { return false; });
    options.interrupt = &interrupt;
    const Neighbors found = index->search(queries.bytes.data(), n_queries, 15, options);
    const std::vector<float> outputs(48 * n_queries, 0.5f);
    const FloatNeighbors weighted = index->search_asymmetric(outputs.data(), n_queries, 15, options);
    options.max_distance = 10;
    const Range range = index->range_search(queries.bytes.data(), n_queries, options);
    for (std::size_t q = 0; q < n_queries; ++q) {
      IndexOptions own;
      if (each.of_query[q] >= 0) own.where = &each.filters[static_cast<std::size_t>(each.of_query[q])];
      const auto part = [&](const auto& values) {
        return std::vector(values.begin() + static_cast<std::ptrdiff_t>(q * 15),
                           values.begin() + static_cast<std::ptrdiff_t>(q * 15 + 15));
      };
      const Neighbors expected = index->search(queries.row(q), 1, 15, own);
      ASSERT_EQ(part(found.ids), expected.ids);
      ASSERT_EQ(part(found.distances), expected.distances);
      ASSERT_EQ(part(weighted.ids), index->search_asymmetric(outputs.data(), 1, 15, own).ids);
      own.max_distance = 10;
      const Range alone = index->range_search(queries.row(q), 1, own);
      ASSERT_EQ(Ids(range.ids.begin() + range.limits[q], range.ids.begin() + range.limits[q + 1]), alone.ids);
    }
    QueryFilters unknown = each;
    const Ids none = {5000};
    unknown.filters[0] = {none.data(), nullptr, 1};
    options.each = &unknown;
    EXPECT_THROW(index->search(queries.bytes.data(), n_queries, 1, options), std::invalid_argument);
  }
}

TEST(HammingIndex, InterruptedWorkLeavesItAsItWas) {
  const std::size_t n = 3000;
  const PackedCodes codes = make_codes(Kind::random, 64, n, 5);
  HammingIndex index(64, 0, Method::multi_index);
  index.add(codes.bytes.data(), nullptr, n);
  // Asked before the work begins: the first look at it stops.
  Interrupt interrupt([] { return true; });
  while (!interrupt.check()) std::this_thread::yield();
  IndexOptions options;
  options.interrupt = &interrupt;
  EXPECT_THROW(index.build(1, &interrupt), Interrupted);
  EXPECT_EQ(index.sizes().multi_index, 0u);
  EXPECT_THROW(index.search(codes.row(0), 1, 1, options), Interrupted);
  EXPECT_THROW(index.knn_graph(1, options), Interrupted);
  options.max_distance = 3;
  EXPECT_THROW(index.duplicates(options), Interrupted);
  EXPECT_EQ(index.search(codes.row(9), 1, 1, {}).ids, Ids{9});
}

TEST(HammingIndex, MethodIsKeptInTheFile) {
  const std::string path = temporary("method");
  for (const Method method : {Method::automatic, Method::scan, Method::multi_index}) {
    HammingIndex(8, 3, method).save(path);
    const auto loaded = HammingIndex::load(path, false);
    EXPECT_EQ(loaded->method(), method);
    EXPECT_EQ(loaded->next_id(), 3);
  }
  const std::vector<std::int64_t> header = {8, 0, 0};
  for (const std::vector<std::int64_t>& value : {Ids{}, Ids{-1}, Ids{3}, Ids{1, 1}}) {
    write_sections(path, "hamming",
                   {{"header", header.data(), 24},
                    {"codes", nullptr, 0},
                    {"ids", nullptr, 0},
                    {"method", value.data(), value.size() * 8}});
    EXPECT_THROW(HammingIndex::load(path, false), FormatError) << value.size();
  }
  std::filesystem::remove(path);
}

// The same codes under the same ids make the same file, whatever happened before.
TEST(HammingIndex, FilesDoNotTellTheHistory) {
  const std::string one = temporary("one"), two = temporary("two");
  for (const std::size_t n : {0, 1, 70, 3000}) {
    const PackedCodes codes = make_codes(Kind::random, 70, n, 6);
    Ids ids;
    for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int64_t>((i * 7919) % 6007));
    const auto changed = with_history(codes, ids, Method::automatic);
    HammingIndex fresh(70);
    fresh.add(codes.bytes.data(), ids.data(), n);
    changed->save(one);
    fresh.save(two);
    std::ifstream first(one, std::ios::binary), second(two, std::ios::binary);
    const std::string a{std::istreambuf_iterator<char>(first), {}}, b{std::istreambuf_iterator<char>(second), {}};
    EXPECT_EQ(a, b) << n;
  }
  std::filesystem::remove(one);
  std::filesystem::remove(two);
}

// Changes, builds and searches at once: a search finds what is always there, and its own order of things.
TEST(HammingIndex, BuildsBesideChangesAndSearches) {
  const std::size_t n = 4000;
  const PackedCodes codes = make_codes(Kind::random, 64, n, 7), extra = make_codes(Kind::random, 64, n, 8);
  HammingIndex index(64, 0, Method::multi_index);
  Ids kept, passing;
  for (std::size_t i = 0; i < n; ++i) {
    kept.push_back(static_cast<std::int64_t>(2 * i));
    passing.push_back(static_cast<std::int64_t>(2 * i + 1));
  }
  index.add(codes.bytes.data(), kept.data(), n);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, searches{0};
  std::vector<std::thread> others;
  for (std::size_t t = 0; t < 2; ++t)
    others.emplace_back([&, t] {
      IndexOptions options;
      options.threads = 1;
      for (std::size_t i = t; !stop.load(); i = (i + 17) % n, ++searches) {
        const Neighbors found = index.search(codes.row(i), 1, 3, options);
        if (found.distances[0] != 0 || found.ids[0] != kept[i]) ++wrong;
      }
    });
  others.emplace_back([&] {
    while (!stop.load()) index.build(1, nullptr);
  });
  for (int round = 0; round < 60 || (searches.load() < 100 && round < 100000); ++round) {
    const std::size_t first = static_cast<std::size_t>(round) * 61 % (n - 700), m = 1 + first % 700;
    index.add(extra.row(first), &passing[first], m);
    index.upsert(codes.row(first), &kept[first], m);
    index.remove(&passing[first], m);
  }
  stop = true;
  for (auto& other : others) other.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_GE(searches.load(), 100);
  EXPECT_EQ(index.ids(), kept);
  EXPECT_EQ(index.codes(nullptr, 0), codes.bytes);
}

}  // namespace
}  // namespace simskip::testing
