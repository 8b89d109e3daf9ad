// Any bytes as a sequence of changes and searches of a Hamming index, compared with a dictionary.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>

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
  explicit Comparison(fuzz::Reader& in) : in_(in), n_bits_(static_cast<int>(in.below(140)) + 1), index_(n_bits_) {}

  void run() {
    while (!in_.empty()) step();
    search();
    require_same_codes();
  }

 private:
  void step() {
    switch (in_.below(8)) {
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
        return range();
      case 6:
        return reload();
      default:
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

  Hits expected(const std::uint8_t* query, const IndexOptions& options) const {
    Hits hits;
    for (const auto& [id, code] : model_) {
      if (options.where && !std::binary_search(options.where->begin(), options.where->end(), id)) continue;
      int distance = 0;
      for (std::size_t i = 0; i < code.size(); ++i)
        distance += std::popcount(static_cast<unsigned>(code[i] ^ query[i]));
      if (distance <= options.max_distance) hits.emplace_back(distance, id);
    }
    std::sort(hits.begin(), hits.end());
    return hits;
  }

  // A filter of those that are there, a farthest distance, or neither.
  IndexOptions options(Ids& where) {
    IndexOptions options;
    options.threads = 1 + static_cast<int>(in_.below(2));
    const std::uint8_t choice = in_.byte();
    if (choice & 1) {
      for (const auto& [id, code] : model_)
        if (in_.byte() % 4 == 0) where.push_back(id);
      options.where = &where;
    }
    if (choice & 2) options.max_distance = static_cast<int>(in_.below(static_cast<std::size_t>(n_bits_) + 1));
    return options;
  }

  void search() {
    if (model_.empty()) return;
    Ids where;
    const IndexOptions chosen = options(where);
    const std::size_t k = in_.below(400) + 1, n = in_.below(20) + 1, width = bytes_per_code(n_bits_);
    const Code queries = codes(n);
    const Neighbors found = index_.search(queries.data(), n, k, chosen);
    for (std::size_t q = 0; q < n; ++q) {
      const Hits hits = expected(&queries[q * width], chosen);
      for (std::size_t i = 0; i < k; ++i) {
        const int distance = i < hits.size() ? hits[i].first : no_distance;
        const std::int64_t id = i < hits.size() ? hits[i].second : no_id;
        fuzz::require(found.distances[q * k + i] == distance && found.ids[q * k + i] == id, "search is exact");
      }
    }
  }

  void range() {
    if (model_.empty()) return;
    Ids where;
    const IndexOptions chosen = options(where);
    const Code query = code();
    const Range found = index_.range_search(query.data(), 1, chosen);
    const Hits hits = expected(query.data(), chosen);
    fuzz::require(found.ids.size() == hits.size(), "range search finds all");
    for (std::size_t i = 0; i < hits.size(); ++i)
      fuzz::require(found.distances[i] == hits[i].first && found.ids[i] == hits[i].second, "range search is exact");
  }

  // Through the file format, mapped or not.
  void reload() {
    const std::string path = "/tmp/simskip-fuzz-" + std::to_string(::getpid());
    index_.save(path);
    const bool map = in_.byte() & 1;
    const std::unique_ptr<HammingIndex> loaded = HammingIndex::load(path, map);
    fuzz::require(loaded->next_id() == next_id_, "the next id is kept");
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
