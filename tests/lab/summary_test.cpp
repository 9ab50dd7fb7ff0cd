// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/summary.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "toolkit/lab/measures.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

TEST(Quantiles, AreOfTheNearestRank) {
  std::vector<double> values(100);
  std::iota(values.rbegin(), values.rend(), 1.0);
  const Quantiles of = quantiles(values);
  EXPECT_EQ(of.p50, 50);
  EXPECT_EQ(of.p95, 95);
  EXPECT_EQ(of.p99, 99);
  EXPECT_EQ(quantiles({}).p50, 0);
  EXPECT_EQ(quantiles({3}).p99, 3);
}

TEST(Fairness, IsOneAmongEqualsAndTheShareOfOneWhoHasItAll) {
  EXPECT_DOUBLE_EQ(fairness({5, 5, 5}), 1);
  EXPECT_DOUBLE_EQ(fairness({7, 0, 0, 0}), 0.25);
  EXPECT_DOUBLE_EQ(fairness({0, 0}), 1);
}

TEST(AnEstimate, HasTheMarginOfStudent) {
  const Estimate of = estimate({2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_EQ(of.runs, 8u);
  EXPECT_DOUBLE_EQ(of.mean, 5);
  EXPECT_NEAR(of.deviation, 2.13809, 1e-5);
  EXPECT_NEAR(of.margin, 2.365 * 2.13809 / std::sqrt(8), 1e-4);
  EXPECT_TRUE(std::isinf(estimate({3}).margin));
  // 30 degrees of freedom: 2.0423.
  std::vector<double> many(31, 0);
  many[0] = 31;
  EXPECT_NEAR(estimate(many).margin, 2.0423 * estimate(many).deviation / std::sqrt(31), 1e-3);
}

/// Two bulk flows; the second begins at 10 s and has the same rate as the first from 20 s on.
RunResult two_flows() {
  RunResult run;
  run.flows.resize(2);
  run.queues.push_back({.name = "a-b", .samples = {}});
  run.flows[0].stop = run.flows[1].stop = 40s;
  run.flows[1].start = 10s;
  std::uint64_t bytes[2] = {};
  for (int second = 0; second <= 40; ++second) {
    run.times.push_back(std::chrono::seconds(second));
    for (int i = 0; i < 2; ++i)
      run.flows[std::size_t(i)].samples.push_back({.bytes_received = bytes[i], .connected = true});
    run.queues[0].samples.push_back({.bytes = 125, .sent_bytes = bytes[0] + bytes[1], .rate = 1'000'000, .delay = 1ms});
    bytes[0] += second < 20 ? 100'000 : 60'000;
    bytes[1] += second < 10 ? 0 : second < 20 ? 10'000 : 60'000;
  }
  return run;
}

TEST(ASummary, SaysWhenFlowsBecameAlike) {
  const Summary summary = summarise(two_flows());
  EXPECT_EQ(summary.convergence, 10s);
  ASSERT_TRUE(summary.fairness);
  EXPECT_NEAR(*summary.fairness, 0.92, 0.02);
  EXPECT_NEAR(summary.flows[0].goodput, 640'000, 1);
  EXPECT_NEAR(summary.flows[0].steady, 480'000, 1);
  EXPECT_NEAR(summary.queues[0].delay_ms.p50, 1, 0.001);
  EXPECT_NEAR(summary.queues[0].utilisation, 0.9, 0.001);
}

}  // namespace
}  // namespace lkm::lab
