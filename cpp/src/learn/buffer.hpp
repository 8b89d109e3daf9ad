// Tensors that are used again in every step.
#pragma once

#include <ATen/ATen.h>

namespace simskip::learn {

// Gives `buffer` the shape; memory is allocated only when it grows.
inline void take_shape(at::Tensor& buffer, at::IntArrayRef sizes) {
  if (!buffer.defined())
    buffer = at::empty(sizes, at::kFloat);
  else if (buffer.sizes() != sizes)
    buffer.resize_(sizes);
}

}  // namespace simskip::learn
