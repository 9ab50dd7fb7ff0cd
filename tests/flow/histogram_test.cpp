// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/histogram.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

using namespace std::chrono_literals;

TEST(Histogram, IsExactForSmallValuesAndCloseForLargeOnes) {
  for (std::int64_t value : {0L, 1L, 31L, 32L, 33L, 1000L, 123'456'789L, INT64_MAX}) {
    Histogram one;
    one.record(std::chrono::nanoseconds(value));
    one.record(std::chrono::nanoseconds(INT64_MAX));
    const auto median = one.quantile(0.5).count();
    EXPECT_GE(median, value);
    EXPECT_LE(static_cast<double>(median), static_cast<double>(value) * 1.032 + 0.5);
  }
}

TEST(Histogram, OrdersWhatItWasGiven) {
  Histogram all;
  for (int us = 1; us <= 1000; ++us) all.record(us * 1us);
  EXPECT_EQ(all.count(), 1000u);
  EXPECT_EQ(all.max(), 1ms);
  EXPECT_NEAR(static_cast<double>(all.quantile(0.5).count()), 500e3, 500e3 * 0.032);
  EXPECT_NEAR(static_cast<double>(all.quantile(0.99).count()), 990e3, 990e3 * 0.032);
  EXPECT_EQ(all.quantile(1.0), 1ms);
}

TEST(Histogram, IsZeroWhenEmpty) {
  EXPECT_EQ(Histogram().quantile(0.99), 0ns);
  EXPECT_EQ(Histogram().max(), 0ns);
}

}  // namespace
}  // namespace lkm
