// SPDX-License-Identifier: GPL-2.0
//
// What needs no stack; tests/protocols has the rest.
#include "toolkit/net/links.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

using namespace std::chrono_literals;

TEST(QueueOfALink, IsWhatTheSpecSays) {
  EXPECT_EQ(queue_of({.rate = 12'000'000, .delay = 10ms, .queue = 5}), 5u);
}

TEST(QueueOfALink, HoldsOneRoundTripByDefault) {
  // 120 Mbit/s are 10,000 packets of 1500 bytes a second.
  EXPECT_EQ(queue_of({.rate = 120'000'000, .delay = 10ms}), 200u);
  EXPECT_EQ(queue_of({.rate = 120'000, .delay = 10ms}), 64u);
  EXPECT_EQ(queue_of({.delay = 10ms}), 0u) << "without a rate nothing waits";
}

}  // namespace
}  // namespace lkm
