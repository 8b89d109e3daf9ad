#include "simskip/hamming_index.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <stdexcept>

#include "simskip/asymmetric.hpp"
#include "simskip/codes.hpp"
#include "simskip/section_file.hpp"

namespace simskip {
namespace {

// A filter that leaves fewer than one row in this many is answered by copying those rows and scanning the copy:
// a sparse bit mask lets thresholds fall late, and the collecting costs more than the copy.
constexpr std::size_t sparse_filter = 16;

constexpr char kind[] = "hamming";

struct Header {
  std::int64_t n_bits, n, next_id;
};

void require_id(std::int64_t id) {
  if (id < 0 || id > HammingIndex::max_id)
    throw std::invalid_argument("ids must be from 0 to " + std::to_string(HammingIndex::max_id) + ", got " +
                                std::to_string(id));
}

}  // namespace

HammingIndex::HammingIndex(int n_bits, std::int64_t next_id) : n_bits_(n_bits), codes_(n_bits), next_id_(next_id) {
  if (n_bits < 1 || n_bits > max_bits)
    throw std::invalid_argument("n_bits must be from 1 to " + std::to_string(max_bits) + ", got " +
                                std::to_string(n_bits));
  if (next_id < 0) throw std::invalid_argument("next_id must not be negative, got " + std::to_string(next_id));
}

std::int64_t HammingIndex::next_id() const {
  const auto lock = reading();
  return next_id_;
}

std::size_t HammingIndex::size() const {
  const auto lock = reading();
  return codes_.size();
}

std::size_t HammingIndex::nbytes() const {
  const auto lock = reading();
  return codes_.nbytes() + ids_.size() * sizeof(std::int64_t);
}

bool HammingIndex::contains(std::int64_t id) const {
  const auto lock = reading();
  return row_of(id) < codes_.size();
}

std::vector<std::int64_t> HammingIndex::ids() const {
  const auto lock = reading();
  if (!ids_.empty()) return ids_;
  std::vector<std::int64_t> ids(codes_.size());
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

std::size_t HammingIndex::row_of(std::int64_t id) const {
  const std::size_t n = codes_.size();
  if (ids_.empty()) return id >= 0 && static_cast<std::size_t>(id) < n ? static_cast<std::size_t>(id) : n;
  const auto found = std::lower_bound(ids_.begin(), ids_.end(), id);
  return found != ids_.end() && *found == id ? static_cast<std::size_t>(found - ids_.begin()) : n;
}

std::uint32_t HammingIndex::known_row(std::int64_t id) const {
  const std::size_t row = row_of(id);
  if (row == codes_.size()) throw std::invalid_argument("id " + std::to_string(id) + " is not in the index");
  return static_cast<std::uint32_t>(row);
}

// ids are distinct and not in the index yet.
void HammingIndex::insert(const std::uint8_t* codes, const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return;
  const std::size_t n = codes_.size(), m = ids.size();
  if (n + m > CodeBlocks::max_size)
    throw std::invalid_argument("an index holds at most " + std::to_string(CodeBlocks::max_size) + " codes");
  const std::int64_t last = n ? id_of(n - 1) : -1;
  const bool ascending = std::is_sorted(ids.begin(), ids.end()) && ids.front() > last;
  const bool consecutive = ascending && ids_.empty() && ids.front() == static_cast<std::int64_t>(n) &&
                           ids.back() == static_cast<std::int64_t>(n + m - 1);
  std::vector<std::int64_t> all;
  if (!consecutive) {
    all.reserve(n + m);
    for (std::size_t row = 0; row < n; ++row) all.push_back(id_of(row));
    all.insert(all.end(), ids.begin(), ids.end());
  }
  if (ascending) {
    codes_.append(codes, m);
  } else {
    std::vector<std::uint32_t> order(n + m);
    std::iota(order.begin(), order.end(), 0u);
    const auto by_id = [&](std::uint32_t a, std::uint32_t b) { return all[a] < all[b]; };
    std::sort(order.begin() + static_cast<std::ptrdiff_t>(n), order.end(), by_id);
    std::inplace_merge(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n), order.end(), by_id);
    std::vector<std::int64_t> sorted(n + m);
    for (std::size_t i = 0; i < order.size(); ++i) sorted[i] = all[order[i]];
    codes_.append(codes, m);
    codes_ = codes_.gather(order.data(), order.size());
    all = std::move(sorted);
    // The new rows may have filled the gaps.
    if (all.front() == 0 && all.back() == static_cast<std::int64_t>(n + m - 1)) all.clear();
  }
  ids_ = std::move(all);
  next_id_ = std::max(next_id_, id_of(n + m - 1) + 1);
}

void HammingIndex::add(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) {
  const auto lock = writing();
  std::vector<std::int64_t> added(n);
  if (ids) {
    std::copy(ids, ids + n, added.begin());
    for (const std::int64_t id : added) {
      require_id(id);
      if (row_of(id) < codes_.size())
        throw std::invalid_argument("id " + std::to_string(id) + " is in the index already (upsert replaces codes)");
    }
  } else {
    if (n > static_cast<std::size_t>(max_id - next_id_) + 1)
      throw std::invalid_argument("no ids are left after " + std::to_string(next_id_ - 1) + ": give ids of your own");
    std::iota(added.begin(), added.end(), next_id_);
  }
  insert(codes, added);
}

void HammingIndex::remove(const std::int64_t* ids, std::size_t n) {
  const auto lock = writing();
  std::vector<bool> gone(codes_.size(), false);
  for (std::size_t i = 0; i < n; ++i) gone[known_row(ids[i])] = true;
  std::vector<std::uint32_t> rows;
  std::vector<std::int64_t> kept;
  for (std::size_t row = 0; row < gone.size(); ++row) {
    if (gone[row]) continue;
    rows.push_back(static_cast<std::uint32_t>(row));
    kept.push_back(id_of(row));
  }
  codes_ = codes_.gather(rows.data(), rows.size());
  const bool implicit = kept.empty() || kept.back() == static_cast<std::int64_t>(kept.size()) - 1;
  ids_ = implicit ? std::vector<std::int64_t>{} : std::move(kept);
}

void HammingIndex::upsert(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) {
  const auto lock = writing();
  const std::size_t n_bytes = bytes_per_code(n_bits_), before = codes_.size();
  std::vector<std::int64_t> new_ids;
  std::vector<std::uint8_t> new_codes;
  std::vector<std::uint32_t> order(before);
  std::iota(order.begin(), order.end(), 0u);
  std::vector<std::uint8_t> changed;
  std::uint32_t n_changed = 0;
  for (std::size_t i = 0; i < n; ++i) {
    require_id(ids[i]);
    const std::uint8_t* code = codes + i * n_bytes;
    if (const std::size_t row = row_of(ids[i]); row < before) {
      changed.insert(changed.end(), code, code + n_bytes);
      order[row] = static_cast<std::uint32_t>(before) + n_changed++;
    } else {
      new_ids.push_back(ids[i]);
      new_codes.insert(new_codes.end(), code, code + n_bytes);
    }
  }
  if (n_changed) {
    // Changed rows are appended and then gathered into their places.
    codes_.append(changed.data(), n_changed);
    codes_ = codes_.gather(order.data(), before);
  }
  insert(new_codes.data(), new_ids);
}

std::vector<std::uint8_t> HammingIndex::codes(const std::int64_t* ids, std::size_t n) const {
  const auto lock = reading();
  const std::size_t count = ids ? n : codes_.size(), n_bytes = bytes_per_code(n_bits_);
  std::vector<std::uint8_t> out(count * n_bytes);
  for (std::size_t i = 0; i < count; ++i) codes_.read(ids ? known_row(ids[i]) : i, &out[i * n_bytes]);
  return out;
}

// Runs `search(codes, options)` on the rows that pass the filter and turns rows into ids.
template <class Search>
auto HammingIndex::search_where(const IndexOptions& options, Search&& search) const {
  const auto lock = reading();
  if (codes_.size() == 0) throw std::invalid_argument("the index is empty: add codes before searching");
  SearchOptions scan{options.max_distance, nullptr, options.threads, options.interrupt};
  const auto with_ids = [](auto result, auto&& id_of_row) {
    for (std::int64_t& id : result.ids)
      if (id != no_id) id = id_of_row(static_cast<std::size_t>(id));
    return result;
  };
  if (!options.where) {
    auto result = search(codes_, scan);
    return ids_.empty() ? result : with_ids(std::move(result), [&](std::size_t row) { return ids_[row]; });
  }
  std::vector<std::uint32_t> rows;
  for (const std::int64_t id : *options.where) rows.push_back(known_row(id));
  if (rows.size() < codes_.size() / sparse_filter) {
    const CodeBlocks subset = codes_.gather(rows.data(), rows.size());
    return with_ids(search(subset, scan), [&](std::size_t row) { return id_of(rows[row]); });
  }
  std::vector<std::uint64_t> allowed(CodeBlocks::padded_rows(codes_.size()) / 64);
  for (const std::uint32_t row : rows) allowed[row / 64] |= std::uint64_t{1} << (row % 64);
  scan.allowed = allowed.data();
  return with_ids(search(codes_, scan), [&](std::size_t row) { return id_of(row); });
}

Neighbors HammingIndex::search(const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                               const IndexOptions& options) const {
  return search_where(options, [&](const CodeBlocks& codes, const SearchOptions& scan) {
    return top_k(codes, queries, n_queries, k, scan);
  });
}

FloatNeighbors HammingIndex::search_asymmetric(const float* outputs, std::size_t n_queries, std::size_t k,
                                               const IndexOptions& options) const {
  return search_where(options, [&](const CodeBlocks& codes, const SearchOptions& scan) {
    return asymmetric_top_k(codes, outputs, n_queries, k, scan);
  });
}

Range HammingIndex::range_search(const std::uint8_t* queries, std::size_t n_queries,
                                 const IndexOptions& options) const {
  return search_where(options, [&](const CodeBlocks& codes, const SearchOptions& scan) {
    return range(codes, queries, n_queries, scan);
  });
}

void HammingIndex::save(const std::string& path) const {
  const auto lock = reading();
  const Header header{n_bits_, static_cast<std::int64_t>(codes_.size()), next_id_};
  write_sections(path, kind,
                 {{"header", &header, sizeof header},
                  {"codes", codes_.data(), codes_.nbytes()},
                  {"ids", ids_.data(), ids_.size() * sizeof(std::int64_t)}});
}

std::unique_ptr<HammingIndex> HammingIndex::load(const std::string& path, bool map) {
  const SectionFile file(path, kind, map ? std::vector<std::string>{"codes"} : std::vector<std::string>{});
  const auto header = file.read<Header>("header");
  const auto fail = [&](const std::string& what) { throw FormatError(path + ": " + what); };
  if (header.size() != 1) fail("section 'header' has the wrong size");
  const auto [n_bits, n, next_id] = header[0];
  if (n_bits < 1 || n_bits > max_bits) fail("bit count " + std::to_string(n_bits) + " is out of range");
  if (n < 0 || static_cast<std::size_t>(n) > CodeBlocks::max_size) fail("code count is out of range");
  const auto rows = static_cast<std::size_t>(n);
  const int bits = static_cast<int>(n_bits);
  const Section codes = file.section("codes");
  if (codes.size != CodeBlocks::padded_rows(rows) * words_per_code(bits) * sizeof(std::uint64_t))
    fail("section 'codes' has the wrong size for " + std::to_string(n) + " codes of " + std::to_string(n_bits) +
         " bits");
  auto index = std::make_unique<HammingIndex>(bits);
  index->ids_ = file.read<std::int64_t>("ids");
  const std::vector<std::int64_t>& ids = index->ids_;
  if (!ids.empty() && ids.size() != rows) fail("section 'ids' has the wrong size");
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || (i && ids[i] <= ids[i - 1])) fail("section 'ids' is not in ascending order");
  const std::int64_t last = rows == 0 ? -1 : ids.empty() ? n - 1 : ids.back();
  if (next_id <= last) fail("the next id is taken");
  index->next_id_ = next_id;  // also bounds the ids, so that it fits
  if (rows) index->codes_ = CodeBlocks(bits, rows, file.share<std::uint64_t>("codes"));
  return index;
}

}  // namespace simskip
