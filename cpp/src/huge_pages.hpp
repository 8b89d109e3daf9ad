// Memory for big arrays that are read at random or from end to end.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace simskip {

// Room for n of T, not initialised, aligned to cache lines; big ones to huge pages, which save a page-table walk
// every 4 KiB. Throws std::bad_alloc.
template <class T>
std::shared_ptr<T> allocate_huge(std::size_t n) {
  constexpr std::size_t huge_page = std::size_t{2} << 20;
  const std::size_t bytes = n * sizeof(T), alignment = bytes >= 2 * huge_page ? huge_page : 64;
  const std::size_t rounded = std::max((bytes + alignment - 1) / alignment * alignment, alignment);
  void* memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
  if (alignment == huge_page) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish; refusal costs only speed
  return {static_cast<T*>(memory), std::free};
}

}  // namespace simskip
