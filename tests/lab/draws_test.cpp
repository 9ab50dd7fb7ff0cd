// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/draws.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <algorithm>
#include <cmath>

namespace lkm::lab {
namespace {

TEST(Draws, HaveTheLogarithmAndTheExponential) {
  for (double value = 1e-17; value < 1e17; value *= 1.37) {
    const double log = std::log(value);
    EXPECT_NEAR(portable_log(value), log, 4e-16 * std::max(1.0, std::abs(log))) << value;
  }
  for (double value = -40; value < 40; value += 0.137)
    EXPECT_NEAR(portable_exp(value) / std::exp(value), 1, 1e-14) << value;
}

// A compiler that fuses operations, or a machine that has others, would give others.
TEST(Draws, AreTheSameBitsEverywhere) {
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable_log(0.3)), 0xbff34378fcbda720u);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable_log(1e-9)), 0xc034b927f32bffb8u);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(portable_exp(7.3)), 0x4097213320377b27u);
}

TEST(Draws, HaveTheMeansAndTheTailsOfTheirDistributions) {
  constexpr int kDraws = 200'000;
  Random random;
  random.seed(1);
  double sum = 0;
  int beyond = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double one = draw_exponential(random, 10);
    sum += one;
    beyond += one > 20;
  }
  EXPECT_NEAR(sum / kDraws, 10, 0.1);
  EXPECT_NEAR(double(beyond) / kDraws, std::exp(-2), 0.003);
  beyond = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double one = draw_pareto(random, 30);
    EXPECT_GE(one, 10);
    beyond += one > 40;
  }
  EXPECT_NEAR(double(beyond) / kDraws, std::pow(4.0, -1.5), 0.003);
}

}  // namespace
}  // namespace lkm::lab
