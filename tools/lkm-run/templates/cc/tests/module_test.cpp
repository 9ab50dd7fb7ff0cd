// SPDX-License-Identifier: GPL-2.0
//
// What __name__ promises. Each run is a simulated path through the real kernel: the same each time, in milliseconds.
#include "toolkit/lab/fixture.hpp"

using namespace std::chrono_literals;

namespace {

class Dumbbell : public lkm::lab::Dumbbell {
 protected:
  Dumbbell() { path.controls = {"__name__"}; }
};

TEST_F(Dumbbell, FillsTheLink) { EXPECT_GT(run().queue("left-right").utilisation, 0.9); }

TEST_F(Dumbbell, KeepsTheQueueShort) {
  // 40 ms of buffer; a window that is halved at each loss fills it now and then, and not always.
  EXPECT_LT(run().queue("left-right").delay_ms.p50, 35);
}

TEST_F(Dumbbell, SharesTheLinkWithItsLike) {
  path.controls = {"__name__", "__name__"};
  path.duration = 60s;
  const auto outcome = run();
  ASSERT_TRUE(outcome.summary.fairness);
  EXPECT_GT(*outcome.summary.fairness, 0.9);
}

TEST_F(Dumbbell, LosesNoMoreThanItMust) {
  path.duration = 60s;
  EXPECT_LT(run().flow("__name__").retransmitted, 0.01);
}

}  // namespace
