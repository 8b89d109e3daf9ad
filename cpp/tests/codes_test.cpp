#include "simskip/codes.hpp"

#include <gtest/gtest.h>

TEST(Codes, SizesRoundUp) {
  EXPECT_EQ(simskip::bytes_per_code(9), 2u);
  EXPECT_EQ(simskip::words_per_code(65), 2u);
}
