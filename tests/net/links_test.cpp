// SPDX-License-Identifier: GPL-2.0
//
// What needs no stack; tests/protocols has the rest.
#include "toolkit/net/links.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

using namespace std::chrono_literals;

TEST(NetemLimit, AddsWhatIsUnderWayToTheQueue) {
  // 12 Mbit/s are 1000 packets of 1500 bytes a second, so 10 packets are under way in 10 ms.
  EXPECT_EQ(netem_limit({.rate = 12'000'000, .delay = 10ms, .queue = 100}), 110u);
}

TEST(NetemLimit, HasOneRoundTripOfQueueByDefault) {
  EXPECT_EQ(netem_limit({.rate = 120'000'000, .delay = 10ms}), 300u);
  EXPECT_EQ(netem_limit({.rate = 12'000'000, .delay = 10ms}), 64u + 10u);
}

TEST(NetemLimit, DoesNotDropWithoutARate) {
  EXPECT_GE(netem_limit({.delay = 10ms}), 1'000'000u);
  EXPECT_EQ(netem_limit({.delay = 10ms, .queue = 5}), 5u);
}

}  // namespace
}  // namespace lkm
