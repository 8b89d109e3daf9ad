#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "matrix_product.hpp"

namespace learn = simskip::learn;

namespace {

// Below, at and above the blocks' 64, and lengths that leave every kind of rest.
const std::vector<std::int64_t> sizes{1, 3, 16, 63, 64, 65, 130, 200};

at::Tensor exact(const at::Tensor& a, const at::Tensor& b) { return at::mm(a.to(at::kDouble), b.to(at::kDouble)); }

void expect_close(const at::Tensor& found, const at::Tensor& expected, const std::string& what) {
  // Sums of at most 200 products of size about 1.
  EXPECT_LT((found - expected).abs().max().item<double>(), 2e-4) << what;
}

std::string name(std::int64_t m, std::int64_t n, std::int64_t k) {
  return std::to_string(m) + " x " + std::to_string(n) + ", depth " + std::to_string(k);
}

}  // namespace

TEST(LearnMatrixProduct, AllShapesAndTransposesAreRight) {
  at::manual_seed(1);
  for (const std::int64_t m : sizes)
    for (const std::int64_t n : sizes)
      for (const std::int64_t k : {1, 7, 64, 100}) {
        const at::Tensor a = at::randn({m, k}), b = at::randn({k, n}), bias = at::randn({n});
        const at::Tensor a_turned = a.t().contiguous().t(), b_turned = b.t().contiguous().t();
        const at::Tensor expected = exact(a, b);
        at::Tensor out = at::full({m, n}, NAN);
        for (const at::Tensor& left : {a, a_turned})
          for (const at::Tensor& right : {b, b_turned}) {
            learn::multiply(out, left, right);
            expect_close(out, expected, name(m, n, k));
            learn::multiply(out, left, right, bias, 0.5);
            expect_close(out, expected * 0.5 + bias, name(m, n, k) + " with bias");
            learn::multiply(out, left, right, {}, -2.0);
            expect_close(out, expected * -2.0, name(m, n, k) + " scaled");
            out.fill_(3.0f);
            learn::multiply_add(out, left, right);
            expect_close(out, expected + 3.0, name(m, n, k) + " added");
          }
      }
}

TEST(LearnMatrixProduct, SquaresAreWhole) {
  at::manual_seed(2);
  for (const std::int64_t n : {1, 63, 64, 65, 128, 200, 321}) {
    const at::Tensor x = at::randn({n, 40}), bias = at::randn({n});
    at::Tensor out = at::full({n, n}, NAN);
    learn::multiply(out, x, x.t(), {}, 0.3);
    expect_close(out, exact(x, x.t()) * 0.3, std::to_string(n));
    expect_close(out, out.t(), std::to_string(n) + " turned");
    learn::multiply(out, x, x.t(), bias, 0.3);
    expect_close(out, exact(x, x.t()) * 0.3 + bias, std::to_string(n) + " with bias");
  }
}

TEST(LearnMatrixProduct, RepeatsBitForBit) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({300, 500}), w = at::randn({500, 260}), g = at::randn({300, 260});
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const auto products = [&] {
      std::vector<at::Tensor> all{at::empty({300, 260}), at::empty({500, 260}), at::empty({300, 500}),
                                  at::empty({300, 300})};
      learn::multiply(all[0], x, w);
      learn::multiply(all[1], x.t(), g);
      learn::multiply(all[2], g, w.t());
      learn::multiply(all[3], x, x.t());
      return all;
    };
    const std::vector<at::Tensor> once = products(), again = products();
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(at::equal(once[i], again[i])) << threads << ", " << i;
  }
  at::set_num_threads(before);
}

TEST(LearnMatrixProduct, ShapesThatDoNotFitThrow) {
  const at::Tensor a = at::ones({3, 4}), b = at::ones({4, 5});
  at::Tensor out = at::empty({3, 5}), wrong = at::empty({5, 3});
  EXPECT_THROW(learn::multiply(wrong, a, b), std::exception);
  EXPECT_THROW(learn::multiply(out, b, a), std::exception);
  EXPECT_THROW(learn::multiply(out, a, b, at::ones({3})), std::exception);
  EXPECT_THROW(learn::multiply(out, a.to(at::kDouble), b), std::exception);
}
