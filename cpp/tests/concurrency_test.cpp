// Searches beside changes, in threads of the test's own. Meant for ThreadSanitizer (make sanitize), true without it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <numeric>
#include <thread>

#include "oracle.hpp"
#include "simskip/hamming_index.hpp"
#include "simskip/interrupt.hpp"

namespace simskip {
namespace {

using testing::Kind;
using testing::make_codes;
using testing::PackedCodes;

constexpr int n_bits = 70;
constexpr std::size_t n_codes = 700, k = 10;

// Runs `work` in two threads until `changes` has returned.
void beside(const std::function<void()>& work, const std::function<void()>& changes) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] {
      do {
        work();
      } while (!stop.load());
    });
  changes();
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
}

class Concurrency : public ::testing::Test {
 protected:
  Concurrency() {
    index.add(codes.bytes.data(), nullptr, codes.n);
    std::copy(queries.bytes.begin(), queries.bytes.end(), more.bytes.begin());  // nearer than anything that was there
  }

  Neighbors search(const IndexOptions& options) const {
    return index.search(queries.bytes.data(), queries.n, k, options);
  }
  static IndexOptions one_thread() {
    IndexOptions options;
    options.threads = 1;
    return options;
  }

  const PackedCodes codes = make_codes(Kind::clustered, n_bits, n_codes, 1);
  const PackedCodes queries = make_codes(Kind::random, n_bits, 3, 2);
  PackedCodes more = make_codes(Kind::clustered, n_bits, 90, 1);
  HammingIndex index{n_bits};
};

TEST_F(Concurrency, SearchesSeeTheStateBeforeOrAfterAnAddOrARemove) {
  std::vector<std::int64_t> ids(more.n);
  std::iota(ids.begin(), ids.end(), 5000);
  const Neighbors before = search(one_thread());
  index.add(more.bytes.data(), ids.data(), ids.size());
  const Neighbors after = search(one_thread());
  index.remove(ids.data(), ids.size());
  ASSERT_NE(before.ids, after.ids);
  std::atomic<int> others{0}, seen{0};
  beside(
      [&] {
        const Neighbors found = search(one_thread());
        others += found.ids != before.ids && found.ids != after.ids;
        ++seen;
      },
      [&] {
        for (int i = 0; i < 40; ++i) {
          index.add(more.bytes.data(), ids.data(), ids.size());
          index.remove(ids.data(), ids.size());
        }
      });
  EXPECT_EQ(others, 0);
  EXPECT_GE(seen, 2);
}

TEST_F(Concurrency, UpsertsAreWhole) {
  const PackedCodes zeros = make_codes(Kind::all_equal, n_bits, n_codes, 3);
  std::vector<std::int64_t> ids(n_codes);
  std::iota(ids.begin(), ids.end(), 0);
  std::atomic<int> mixed{0};
  beside(
      [&] {
        const std::vector<std::uint8_t> now = index.codes(nullptr, 0);
        mixed += now != codes.bytes && now != zeros.bytes;
      },
      [&] {
        for (int i = 0; i < 30; ++i) index.upsert((i % 2 ? codes : zeros).bytes.data(), ids.data(), ids.size());
      });
  EXPECT_EQ(mixed, 0);
}

TEST_F(Concurrency, FiltersRangesAndQuestionsBesideAWriter) {
  const std::vector<std::int64_t> few{1, 2, 3}, many = [] {
    std::vector<std::int64_t> ids(n_codes);
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }();
  std::atomic<int> wrong{0};
  beside(
      [&] {
        IndexOptions options = one_thread();
        for (const auto* ids : {&few, &many}) {
          const Filter where{ids->data(), nullptr, ids->size()};
          options.where = &where;
          for (const std::int64_t id : search(options).ids) wrong += id >= static_cast<std::int64_t>(n_codes);
        }
        options.where = nullptr;
        options.max_distance = 20;
        index.range_search(queries.bytes.data(), queries.n, options);
        wrong += !index.contains(0) || index.size() < n_codes || index.sizes().nbytes() == 0 || index.next_id() < 700;
        const auto ids = index.ids();
        wrong += ids.size() < n_codes;
      },
      [&] {
        for (int i = 0; i < 40; ++i) {
          const std::int64_t id = index.next_id();
          index.add(more.bytes.data(), nullptr, 1);
          index.remove(&id, 1);
        }
      });
  EXPECT_EQ(wrong, 0);
}

TEST_F(Concurrency, SavesBesideAWriterAreWholeFiles) {
  std::string folder = (std::filesystem::temp_directory_path() / "simskip-test-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::atomic<int> serial{0}, wrong{0};
  beside(
      [&] {
        const std::string path = folder + "/" + std::to_string(serial++ % 2);
        index.save(path);
        const std::size_t n = HammingIndex::load(path, true)->size();
        wrong += n != n_codes && n != n_codes + more.n;
      },
      [&] {
        std::vector<std::int64_t> ids(more.n);
        std::iota(ids.begin(), ids.end(), 5000);
        for (int i = 0; i < 20; ++i) {
          index.add(more.bytes.data(), ids.data(), ids.size());
          index.remove(ids.data(), ids.size());
        }
      });
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()), 2);
  std::filesystem::remove_all(folder);
}

TEST_F(Concurrency, AMappedIndexIsSearchedBesideItsFirstChange) {
  std::string path = (std::filesystem::temp_directory_path() / "simskip-test-XXXXXX").string();
  const int fd = ::mkstemp(path.data());
  ASSERT_GE(fd, 0);
  ::close(fd);
  index.save(path);
  const Neighbors before = search(one_thread());
  const auto mapped = HammingIndex::load(path, true);
  std::atomic<int> wrong{0};
  beside(
      [&] {
        const Neighbors found = mapped->search(queries.bytes.data(), queries.n, k, one_thread());
        wrong += found.distances > before.distances;  // codes are only added: nothing gets farther
      },
      [&] { mapped->add(more.bytes.data(), nullptr, more.n); });
  EXPECT_EQ(wrong, 0);
  std::filesystem::remove(path);
}

TEST_F(Concurrency, OneSearchIsInterruptedBesideOthers) {
  std::atomic<int> interrupted{0}, finished{0};
  const Neighbors expected = search(one_thread());
  beside([&] { finished += search(one_thread()).ids == expected.ids; },
         [&] {
           const PackedCodes many = make_codes(Kind::random, n_bits, 3000, 5);
           for (int i = 0; i < 3; ++i) {
             Interrupt interrupt([] { return true; });
             IndexOptions options = one_thread();
             options.interrupt = &interrupt;
             std::this_thread::sleep_for(std::chrono::milliseconds(25));  // past the time between two polls
             try {
               index.search(many.bytes.data(), many.n, k, options);
             } catch (const Interrupted&) {
               ++interrupted;
             }
           }
         });
  EXPECT_EQ(interrupted, 3);
  EXPECT_GE(finished, 2);
}

}  // namespace
}  // namespace simskip
