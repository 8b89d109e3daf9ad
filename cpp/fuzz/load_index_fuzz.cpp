// Any bytes as a saved Hamming index: FormatError, or an index that can be searched and changed.
#include <cstddef>
#include <cstdint>
#include <numeric>

#include "input.hpp"
#include "simskip/codes.hpp"
#include "simskip/hamming_index.hpp"

namespace {

using namespace simskip;

void use(HammingIndex& index) {
  const std::size_t n_bytes = bytes_per_code(index.n_bits()), n = index.size();
  const std::vector<std::int64_t> ids = index.ids();
  fuzz::require(ids.size() == n, "there is an id for each code");
  const std::vector<std::uint8_t> codes = index.codes(nullptr, 0);
  std::vector<std::uint8_t> query(n_bytes, 0);
  IndexOptions options;
  options.threads = 1;
  if (n) {
    const std::size_t k = std::min<std::size_t>(n + 1, 100);
    const Neighbors found = index.search(query.data(), 1, k, options);
    // A forged code may have bits set past its last, and so be farther than any distance that is looked for.
    for (std::size_t i = 0; i < k; ++i)
      fuzz::require(found.ids[i] == no_id || index.contains(found.ids[i]), "found ids are the index's");
    const std::vector<std::int64_t> ends{ids.front(), ids.back()};
    const Filter where{ends.data(), nullptr, ends.size()};
    options.where = n > 1 ? &where : nullptr;
    index.search(query.data(), 1, 3, options);
    options.max_distance = index.n_bits() / 2;
    index.range_search(query.data(), 1, options);
    index.upsert(query.data(), &ids.back(), 1);
    index.remove(ids.data(), 1);
    fuzz::require(!index.contains(ids.front()), "a removed id is gone");
  }
  if (index.next_id() <= HammingIndex::max_id) {
    const std::int64_t next = index.next_id();
    index.add(query.data(), nullptr, 1);
    fuzz::require(index.contains(next), "an added id is there");
  }
}

void load(const std::vector<std::uint8_t>& bytes) {
  const fuzz::MemoryFile file(bytes);
  for (const bool map : {false, true}) {
    try {
      use(*HammingIndex::load(file.path(), map));
    } catch (const FormatError&) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::uint8_t> bytes(data, data + size);
  load(bytes);
  load(fuzz::sealed(bytes));
  return 0;
}
