// A fixed number of values in memory of their own, on huge pages where there are many.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include "huge_pages.hpp"

namespace simskip {

// Not initialised. Random access to gigabytes by 4 KiB pages would miss the TLB each time.
template <class T>
class HugeArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  HugeArray() = default;
  explicit HugeArray(std::size_t n) : size_(n), data_(allocate_huge<T>(n)) {}

  std::size_t size() const { return size_; }
  std::size_t nbytes() const { return size_ * sizeof(T); }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](std::size_t i) { return data_.get()[i]; }
  const T& operator[](std::size_t i) const { return data_.get()[i]; }

 private:
  std::size_t size_ = 0;
  std::shared_ptr<T> data_;
};

}  // namespace simskip
