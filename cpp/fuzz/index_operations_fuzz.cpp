// Any bytes as a sequence of changes and searches of a Hamming index, compared with a dictionary.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include "input.hpp"
#include "simskip/codes.hpp"
#include "simskip/hamming_index.hpp"

namespace {

using namespace simskip;

using Code = std::vector<std::uint8_t>;
using Ids = std::vector<std::int64_t>;
using Hits = std::vector<std::pair<int, std::int64_t>>;

class Comparison {
 public:
  explicit Comparison(fuzz::Reader& in)
      : in_(in), n_bits_(static_cast<int>(in.below(140)) + 1), index_(n_bits_, 0, static_cast<Method>(in.below(3))) {}

  void run() {
    while (!in_.empty()) step();
    search();
    require_same_codes();
  }

 private:
  void step() {
    switch (in_.below(11)) {
      case 0:
        return add();
      case 1:
        return add_ids();
      case 2:
        return upsert();
      case 3:
        return remove();
      case 4:
        return search();
      case 5:
        return search_filtered_each();
      case 6:
        return range();
      case 7:
        return graph();
      case 8:
        return duplicates();
      case 9:
        return reload();
      default:
        index_.build(1, nullptr);
        return require_same_codes();
    }
  }

  // Near to each other, so that distances tie; or all over.
  Code code() {
    Code code(bytes_per_code(n_bits_));
    const std::uint8_t fill = in_.byte();
    for (std::uint8_t& byte : code) byte = fill & 1 ? static_cast<std::uint8_t>(fill * 0x2D) : in_.byte();
    if (n_bits_ % 8) code.back() &= static_cast<std::uint8_t>((1 << n_bits_ % 8) - 1);
    return code;
  }

  // Distinct; small ones, so that they meet.
  Ids some_ids() {
    Ids ids;
    const auto first = static_cast<std::int64_t>(in_.below(300));
    const auto stride = static_cast<std::int64_t>(in_.below(3)) + 1;
    for (std::size_t n = in_.below(70), i = 0; i < n; ++i) ids.push_back(first + stride * static_cast<std::int64_t>(i));
    if (in_.byte() & 1) std::reverse(ids.begin(), ids.end());
    return ids;
  }

  Code codes(std::size_t n) {
    Code all;
    for (std::size_t i = 0; i < n; ++i) {
      const Code one = code();
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }

  void store(const Code& codes, const Ids& ids) {
    const std::size_t width = bytes_per_code(n_bits_);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto at = codes.begin() + static_cast<std::ptrdiff_t>(i * width);
      model_[ids[i]] = Code(at, at + static_cast<std::ptrdiff_t>(width));
      next_id_ = std::max(next_id_, ids[i] + 1);
    }
  }

  // Runs a change that must fail if `fails`, and then change nothing.
  template <class Change>
  bool changes(bool fails, Change&& change) {
    try {
      change();
    } catch (const std::invalid_argument&) {
      fuzz::require(fails, "a valid change is carried out");
      return false;
    }
    fuzz::require(!fails, "an invalid change is refused");
    return true;
  }

  void add() {
    const std::size_t n = in_.below(70);
    const Code added = codes(n);
    index_.add(added.data(), nullptr, n);
    Ids ids(n);
    for (std::size_t i = 0; i < n; ++i) ids[i] = next_id_ + static_cast<std::int64_t>(i);
    store(added, ids);
  }

  void add_ids() {
    const Ids ids = some_ids();
    const Code added = codes(ids.size());
    const bool taken = std::any_of(ids.begin(), ids.end(), [&](std::int64_t id) { return model_.count(id) != 0; });
    if (changes(taken, [&] { index_.add(added.data(), ids.data(), ids.size()); })) store(added, ids);
  }

  void upsert() {
    const Ids ids = some_ids();
    const Code put = codes(ids.size());
    index_.upsert(put.data(), ids.data(), ids.size());
    store(put, ids);
  }

  void remove() {
    Ids ids = some_ids();
    if (in_.byte() & 3)  // mostly those that are there
      ids.erase(std::remove_if(ids.begin(), ids.end(), [&](std::int64_t id) { return model_.count(id) == 0; }),
                ids.end());
    const bool unknown = std::any_of(ids.begin(), ids.end(), [&](std::int64_t id) { return model_.count(id) == 0; });
    if (changes(unknown, [&] { index_.remove(ids.data(), ids.size()); }))
      for (const std::int64_t id : ids) model_.erase(id);
  }

  // Those that a search may return, ascending; everything without a filter.
  struct Chosen {
    bool filtered = false;
    Ids ids;
    std::unique_ptr<bool[]> mask;  // the same as an entry for each code
    Filter filter;
    bool allows(std::int64_t id) const { return !filtered || std::binary_search(ids.begin(), ids.end(), id); }
  };

  Chosen choose() {
    Chosen chosen;
    const std::uint8_t choice = in_.byte();
    if (!(choice & 1)) return chosen;
    chosen.filtered = true;
    const std::size_t stride = 1 + in_.below(9);
    chosen.mask = std::make_unique<bool[]>(model_.size());
    std::size_t row = 0;
    for (const auto& [id, code] : model_) {
      if (row % stride == choice % stride) {
        chosen.ids.push_back(id);
        chosen.mask[row] = true;
      }
      ++row;
    }
    if (choice & 2)
      chosen.filter.mask = chosen.mask.get();
    else
      chosen.filter.ids = chosen.ids.data();
    chosen.filter.n = choice & 2 ? model_.size() : chosen.ids.size();
    return chosen;
  }

  IndexOptions options(const Chosen& chosen) {
    IndexOptions options;
    options.threads = 1 + static_cast<int>(in_.byte() % 16 == 0);
    if (chosen.filtered) options.where = &chosen.filter;
    if (in_.byte() & 1) options.max_distance = static_cast<int>(in_.below(static_cast<std::size_t>(n_bits_) + 1));
    return options;
  }

  static int distance(const std::uint8_t* a, const Code& b) {
    int sum = 0;
    for (std::size_t i = 0; i < b.size(); ++i) sum += std::popcount(static_cast<unsigned>(a[i] ^ b[i]));
    return sum;
  }

  Hits expected(const std::uint8_t* query, const Chosen& chosen, int max_distance) const {
    Hits hits;
    for (const auto& [id, code] : model_)
      if (const int d = distance(query, code); d <= max_distance && chosen.allows(id)) hits.emplace_back(d, id);
    std::sort(hits.begin(), hits.end());
    return hits;
  }

  static void require_equal(const Neighbors& found, std::size_t row, std::size_t k, const Hits& hits,
                            const char* promise) {
    for (std::size_t i = 0; i < k; ++i) {
      const int d = i < hits.size() ? hits[i].first : no_distance;
      const std::int64_t id = i < hits.size() ? hits[i].second : no_id;
      fuzz::require(found.distances[row * k + i] == d && found.ids[row * k + i] == id, promise);
    }
  }

  void search() {
    if (model_.empty()) return;
    const Chosen chosen = choose();
    const IndexOptions asked = options(chosen);
    const std::size_t k = in_.below(300) + 1, n = in_.below(8) + 1, width = bytes_per_code(n_bits_);
    const Code queries = codes(n);
    const Neighbors found = index_.search(queries.data(), n, k, asked);
    for (std::size_t q = 0; q < n; ++q)
      require_equal(found, q, k, expected(&queries[q * width], chosen, asked.max_distance), "search is exact");
  }

  void search_filtered_each() {
    if (model_.empty()) return;
    const std::size_t k = in_.below(20) + 1, n = in_.below(6) + 1, width = bytes_per_code(n_bits_);
    std::vector<Chosen> chosen;
    for (int i = 0; i < 2; ++i) chosen.push_back(choose());
    const Chosen everything;
    QueryFilters filters;
    std::vector<const Chosen*> of_filter;
    for (const Chosen& c : chosen) {
      if (!c.filtered) continue;
      filters.filters.push_back(c.filter);
      of_filter.push_back(&c);
    }
    for (std::size_t q = 0; q < n; ++q)
      filters.of_query.push_back(static_cast<std::int32_t>(in_.below(of_filter.size() + 1)) - 1);
    IndexOptions asked = options(everything);
    asked.each = &filters;
    const Code queries = codes(n);
    const Neighbors found = index_.search(queries.data(), n, k, asked);
    for (std::size_t q = 0; q < n; ++q) {
      const std::int32_t filter = filters.of_query[q];
      const Chosen& own = filter < 0 ? everything : *of_filter[static_cast<std::size_t>(filter)];
      require_equal(found, q, k, expected(&queries[q * width], own, asked.max_distance),
                    "filters are each query's own");
    }
  }

  void range() {
    if (model_.empty()) return;
    const Chosen chosen = choose();
    const IndexOptions asked = options(chosen);
    const Code query = code();
    const Range found = index_.range_search(query.data(), 1, asked);
    const Hits hits = expected(query.data(), chosen, asked.max_distance);
    fuzz::require(found.ids.size() == hits.size(), "range search finds all");
    for (std::size_t i = 0; i < hits.size(); ++i)
      fuzz::require(found.distances[i] == hits[i].first && found.ids[i] == hits[i].second, "range search is exact");
  }

  void graph() {
    if (model_.empty() || model_.size() > largest_squared) return;
    const std::size_t k = in_.below(12) + 1;
    IndexOptions asked;
    asked.threads = 1;
    const Neighbors found = index_.knn_graph(k, asked);
    std::size_t row = 0;
    for (const auto& [id, code] : model_) {
      Hits hits = expected(code.data(), {}, SearchOptions::max_distance_any);
      hits.erase(std::find(hits.begin(), hits.end(), std::pair<int, std::int64_t>(0, id)));
      require_equal(found, row++, k, hits, "the graph is exact, without the codes themselves");
    }
  }

  void duplicates() {
    if (model_.empty() || model_.size() > largest_squared) return;
    IndexOptions asked;
    asked.threads = 1;
    asked.max_distance = static_cast<int>(in_.below(static_cast<std::size_t>(n_bits_) + 1));
    const HammingIndex::Groups found = index_.duplicates(asked);
    // Components by walking from each code that was not reached yet.
    Ids limits{0}, ids;
    std::map<std::int64_t, bool> reached;
    for (const auto& [first, unused] : model_) {
      if (reached[first]) continue;
      Ids group{first};
      reached[first] = true;
      for (std::size_t i = 0; i < group.size(); ++i)
        for (const auto& [id, code] : model_)
          if (!reached[id] && distance(model_.at(group[i]).data(), code) <= asked.max_distance) {
            reached[id] = true;
            group.push_back(id);
          }
      if (group.size() == 1) continue;
      std::sort(group.begin(), group.end());
      ids.insert(ids.end(), group.begin(), group.end());
      limits.push_back(static_cast<std::int64_t>(ids.size()));
    }
    fuzz::require(found.limits == limits && found.ids == ids, "duplicates are the connected components");
  }

  // Through the file format, mapped or not.
  void reload() {
    const std::string path = "/tmp/simskip-fuzz-" + std::to_string(::getpid());
    index_.save(path);
    const bool map = in_.byte() & 1;
    const std::unique_ptr<HammingIndex> loaded = HammingIndex::load(path, map);
    fuzz::require(loaded->next_id() == next_id_ && loaded->method() == index_.method(), "next id and method are kept");
    fuzz::require(loaded->ids() == index_.ids() && loaded->codes(nullptr, 0) == index_.codes(nullptr, 0),
                  "a loaded index holds what was saved");
    ::unlink(path.c_str());
  }

  void require_same_codes() const {
    Ids ids;
    Code all;
    for (const auto& [id, code] : model_) {
      ids.push_back(id);
      all.insert(all.end(), code.begin(), code.end());
    }
    fuzz::require(index_.ids() == ids, "ids are those that were put in");
    fuzz::require(index_.codes(nullptr, 0) == all, "codes are those that were put in");
  }

  // Comparing each with each takes the model long.
  static constexpr std::size_t largest_squared = 70;

  fuzz::Reader& in_;
  int n_bits_;
  HammingIndex index_;
  std::map<std::int64_t, Code> model_;
  std::int64_t next_id_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Reader in(data, size);
  Comparison(in).run();
  return 0;
}
