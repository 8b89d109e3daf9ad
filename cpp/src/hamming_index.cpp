#include "simskip/hamming_index.hpp"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <stdexcept>

#include "simskip/codes.hpp"
#include "simskip/section_file.hpp"

namespace simskip {
namespace {

constexpr char kind[] = "hamming";

struct Header {
  std::int64_t n_bits, n, next_id;
};

void require_id(std::int64_t id) {
  if (id < 0 || id > HammingIndex::max_id)
    throw std::invalid_argument("ids must be from 0 to " + std::to_string(HammingIndex::max_id) + ", got " +
                                std::to_string(id));
}

// Bits that no code can have: they would count in distances.
bool has_padding_bits(const CodeBlocks& codes) {
  const int used = codes.n_bits() % 64;
  if (used == 0) return false;
  std::uint64_t seen = 0;
  for (std::size_t row = 0; row < codes.size(); ++row) seen |= codes.at(row, codes.words() - 1);
  return seen >> used != 0;
}

}  // namespace

HammingIndex::HammingIndex(int n_bits, std::int64_t next_id, Method method)
    : segments_(n_bits), next_id_(next_id), method_(method) {
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
    if (const auto index = segment->index()) {
      sizes.multi_index += index->nbytes();
      if (segment == segments_.segments().front()) sizes.substrings = index->n_substrings();
    }
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
  std::vector<Section> sections = {{"header", &header, sizeof header},
                                   {"codes", segment->codes().data(), segment->codes().nbytes()},
                                   {"ids", written.data(), written.size() * sizeof(std::int64_t)}};
  const auto method = static_cast<std::int64_t>(method_);
  if (method_ != Method::automatic) sections.push_back({"method", &method, sizeof method});
  write_sections(path, kind, sections);
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
  Method method = Method::automatic;  // what a file without that section has
  for (const Section& section : file.sections()) {
    if (section.name != "method") continue;
    const auto value = file.read<std::int64_t>("method");
    if (value.size() != 1 || value[0] < 0 || value[0] > static_cast<std::int64_t>(Method::multi_index))
      fail("section 'method' is not one that there is");
    method = static_cast<Method>(value[0]);
  }
  auto index = std::make_unique<HammingIndex>(bits, 0, method);
  index->next_id_ = next_id;  // also bounds the ids, so that it fits
  if (rows) {
    CodeBlocks blocks(bits, rows, file.share<std::uint64_t>("codes"));
    if (!map && has_padding_bits(blocks)) fail("section 'codes' has bits past the " + std::to_string(bits) + "th");
    index->segments_.adopt(std::make_shared<Segment>(std::move(blocks), std::move(ids)));
  }
  return index;
}

}  // namespace simskip
