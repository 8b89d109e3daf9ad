#include "simskip/hamming_index.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <stdexcept>

#include "merged_hits.hpp"
#include "selection.hpp"
#include "simskip/asymmetric.hpp"
#include "simskip/codes.hpp"
#include "simskip/section_file.hpp"

namespace simskip {
namespace {

// Nanoseconds of a batch scan per word of a code and query, and of copying a code out of its place; what counts is
// their ratio, which is about the same on all machines.
constexpr double scan_word = 0.08, copy_code = 5.0, copy_word = 1.0;
// A copy of more than one code in this many is not worth its memory.
constexpr std::size_t densest_copy = 4;

constexpr char kind[] = "hamming";

struct Header {
  std::int64_t n_bits, n, next_id;
};

void require_id(std::int64_t id) {
  if (id < 0 || id > HammingIndex::max_id)
    throw std::invalid_argument("ids must be from 0 to " + std::to_string(HammingIndex::max_id) + ", got " +
                                std::to_string(id));
}

// Whether to copy `count` of n codes and scan the copy, rather than scan all.
bool copy_is_cheaper(std::size_t count, std::size_t n, std::size_t n_queries, int n_bits) {
  if (count > n / densest_copy) return false;
  const auto words = static_cast<double>(words_per_code(n_bits));
  const double scans = words * scan_word * static_cast<double>(n_queries);
  return static_cast<double>(count) * (copy_code + copy_word * words + scans) < static_cast<double>(n) * scans;
}

}  // namespace

HammingIndex::HammingIndex(int n_bits, std::int64_t next_id) : segments_(n_bits), next_id_(next_id) {
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
  return segments_.size();
}

HammingIndex::Sizes HammingIndex::sizes() const {
  const auto lock = reading();
  Sizes sizes;
  sizes.segments = segments_.segments().size();
  for (const auto& segment : segments_.segments()) {
    sizes.codes += segment->codes().nbytes();
    sizes.ids += segment->nbytes_of_ids();
    sizes.marks += segment->nbytes_of_marks();
    sizes.tombstones += segment->dead();
  }
  return sizes;
}

bool HammingIndex::contains(std::int64_t id) const {
  const auto lock = reading();
  return segments_.find(id).segment != nullptr;
}

std::vector<std::int64_t> HammingIndex::ids() const { return ids_from(0, std::numeric_limits<std::size_t>::max()); }

std::vector<std::int64_t> HammingIndex::ids_from(std::int64_t from, std::size_t count) const {
  const auto lock = reading();
  std::vector<std::int64_t> ids;
  ids.reserve(std::min(count, segments_.size()));
  segments_.for_each_run_from(from, [&](std::size_t s, std::size_t begin, std::size_t end) {
    const Segment& segment = *segments_.segments()[s];
    for (std::size_t row = begin; row < end && ids.size() < count; ++row)
      if (segment.is_live(row)) ids.push_back(segment.id_of(row));
    return ids.size() < count;
  });
  return ids;
}

void HammingIndex::add(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) {
  const auto lock = writing();
  std::vector<std::int64_t> next;
  if (ids) {
    std::for_each(ids, ids + n, require_id);
  } else {
    if (n > static_cast<std::size_t>(max_id - next_id_) + 1)
      throw std::invalid_argument("no ids are left after " + std::to_string(next_id_ - 1) + ": give ids of your own");
    next.resize(n);
    std::iota(next.begin(), next.end(), next_id_);
    ids = next.data();
  }
  segments_.add(codes, ids, n);
  if (n) next_id_ = std::max(next_id_, *std::max_element(ids, ids + n) + 1);
}

void HammingIndex::remove(const std::int64_t* ids, std::size_t n) {
  const auto lock = writing();
  segments_.remove(ids, n);
}

void HammingIndex::upsert(const std::uint8_t* codes, const std::int64_t* ids, std::size_t n) {
  const auto lock = writing();
  std::for_each(ids, ids + n, require_id);
  segments_.upsert(codes, ids, n);
  if (n) next_id_ = std::max(next_id_, *std::max_element(ids, ids + n) + 1);
}

std::vector<std::uint8_t> HammingIndex::codes(const std::int64_t* ids, std::size_t n) const {
  const auto lock = reading();
  const std::size_t n_bytes = bytes_per_code(n_bits());
  std::vector<std::uint8_t> out((ids ? n : segments_.size()) * n_bytes);
  std::uint8_t* code = out.data();
  if (ids) {
    for (std::size_t i = 0; i < n; ++i, code += n_bytes) {
      const SegmentList::Place place = segments_.known(ids[i]);
      place.segment->codes().read(place.row, code);
    }
    return out;
  }
  segments_.for_each_run([&](std::size_t s, std::size_t begin, std::size_t end) {
    const Segment& segment = *segments_.segments()[s];
    for (std::size_t row = begin; row < end; ++row) {
      if (!segment.is_live(row)) continue;
      segment.codes().read(row, code);
      code += n_bytes;
    }
    return true;
  });
  return out;
}

// Runs `search(codes, options, k)` on the rows of each segment that pass the filter and merges the hits; it returns
// hits whose ids are rows.
template <class Search>
auto HammingIndex::search_where(std::size_t n_queries, std::size_t k, const IndexOptions& options,
                                Search&& search) const {
  const auto lock = reading();
  if (segments_.empty()) throw std::invalid_argument("the index is empty: add codes before searching");
  SearchOptions scan{options.max_distance, nullptr, options.threads, options.interrupt};
  const auto with_ids = [](auto& found, auto&& id_of) {
    for (std::int64_t& id : found.ids)
      if (id != no_id) id = id_of(static_cast<std::size_t>(id));
  };
  Selection::Bits selected;
  if (options.where) {
    Selection selection(segments_, *options.where);
    if (copy_is_cheaper(selection.size(), segments_.size(), n_queries, n_bits())) {
      const Selection::Subset subset = selection.gather();
      auto found = search(subset.codes, scan, k);
      with_ids(found, [&](std::size_t row) { return subset.ids[row]; });
      return found;
    }
    selected = std::move(selection).take_bits();
  }
  const auto& segments = segments_.segments();
  std::vector<Part<decltype(search(segments[0]->codes(), scan, k))>> parts;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const Segment& segment = *segments[s];
    const std::size_t part_k = segments.size() == 1 ? k : std::min(k, segment.size());
    scan.allowed = selected.empty() ? segment.marks() : selected[s].data();
    parts.push_back({search(segment.codes(), scan, part_k), part_k});
    const bool rows_are_ids = segment.ids().empty() && segment.first_id() == 0;
    if (!rows_are_ids) with_ids(parts.back().found, [&](std::size_t row) { return segment.id_of(row); });
  }
  if (parts.size() == 1) return std::move(parts[0].found);
  return merge_hits(parts, n_queries, k);
}

Neighbors HammingIndex::search(const std::uint8_t* queries, std::size_t n_queries, std::size_t k,
                               const IndexOptions& options) const {
  return search_where(n_queries, k, options, [&](const CodeBlocks& codes, const SearchOptions& scan, std::size_t most) {
    return top_k(codes, queries, n_queries, most, scan);
  });
}

FloatNeighbors HammingIndex::search_asymmetric(const float* outputs, std::size_t n_queries, std::size_t k,
                                               const IndexOptions& options) const {
  return search_where(n_queries, k, options, [&](const CodeBlocks& codes, const SearchOptions& scan, std::size_t most) {
    return asymmetric_top_k(codes, outputs, n_queries, most, scan);
  });
}

Range HammingIndex::range_search(const std::uint8_t* queries, std::size_t n_queries,
                                 const IndexOptions& options) const {
  return search_where(n_queries, 0, options, [&](const CodeBlocks& codes, const SearchOptions& scan, std::size_t) {
    return range(codes, queries, n_queries, scan);
  });
}

void HammingIndex::save(const std::string& path) const {
  const auto lock = reading();
  const auto& segments = segments_.segments();
  // One segment without marks is canonical already; others, or none, are brought into that form aside.
  const bool canonical = segments.size() == 1 && !segments[0]->dead();
  const std::shared_ptr<const Segment> segment = canonical ? segments[0] : segments_.merged();
  std::vector<std::int64_t> ids;
  if (segment->ids().empty() && segment->first_id() != 0) {
    ids.resize(segment->size());
    std::iota(ids.begin(), ids.end(), segment->first_id());
  }
  const std::vector<std::int64_t>& written = ids.empty() ? segment->ids() : ids;
  const Header header{n_bits(), static_cast<std::int64_t>(segment->size()), next_id_};
  write_sections(path, kind,
                 {{"header", &header, sizeof header},
                  {"codes", segment->codes().data(), segment->codes().nbytes()},
                  {"ids", written.data(), written.size() * sizeof(std::int64_t)}});
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
  auto ids = file.read<std::int64_t>("ids");
  if (!ids.empty() && ids.size() != rows) fail("section 'ids' has the wrong size");
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || (i && ids[i] <= ids[i - 1])) fail("section 'ids' is not in ascending order");
  const std::int64_t last = rows == 0 ? -1 : ids.empty() ? n - 1 : ids.back();
  if (next_id <= last) fail("the next id is taken");
  auto index = std::make_unique<HammingIndex>(bits);
  index->next_id_ = next_id;  // also bounds the ids, so that it fits
  if (rows)
    index->segments_.adopt(
        std::make_shared<Segment>(CodeBlocks(bits, rows, file.share<std::uint64_t>("codes")), std::move(ids)));
  return index;
}

}  // namespace simskip
