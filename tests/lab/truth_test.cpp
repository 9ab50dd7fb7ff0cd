// SPDX-License-Identifier: GPL-2.0
//
// Does the lab tell the truth? What it measures, against what is known.
#include <cmath>

#include "tests/lab/lab_test.hpp"
#include "toolkit/lab/presets.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

using Truth = LabTest;

constexpr double kSegment = 1448;  // bytes of payload

// Mathis, Semke, Mahdavi and Ott 1997: rate = C * MSS / (RTT * sqrt(p)), with C = 1.31 for random losses and a window
// that grows with every segment acknowledged (as Linux counts, with delayed acknowledgements too: tcp_cong_avoid_ai()).
TEST_F(Truth, RenoFollowsTheSquareRootLaw) {
  const double rates[] = {0.0005, 0.001, 0.002, 0.005};
  Scenario scenario;
  scenario.duration = 400s;
  scenario.sample = 1s;
  for (int i = 0; i < 4; ++i) {
    // Four networks side by side. Acknowledgements are cumulative: the loss of some changes little.
    const std::string from = fmt::format("s{}", i), to = fmt::format("r{}", i);
    scenario.links.push_back({.a = from, .b = to, .delay = 50ms, .loss = rates[i]});
    scenario.flows.push_back({.name = from, .from = from, .to = to, .control = "reno"});
  }
  const Summary summary = summarise(run(scenario));
  for (int i = 0; i < 4; ++i) {
    const double law = 1.31 * kSegment * 8 / (0.1 * std::sqrt(rates[i]));
    EXPECT_NEAR(summary.flows[std::size_t(i)].steady / law, 1, 0.15) << "at a loss of " << rates[i];
  }
}

class Pair : public LabTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(Pair, ConvergesToFairness) {
  Scenario scenario = dumbbell({.controls = {GetParam(), GetParam()}, .rate = 10'000'000, .duration = 200s});
  scenario.flows[1].start = 20s;
  const Summary summary = summarise(run(scenario));
  EXPECT_TRUE(summary.convergence);
  EXPECT_GT(fairness({summary.flows[0].steady, summary.flows[1].steady}), 0.95);
}
INSTANTIATE_TEST_SUITE_P(Of, Pair, ::testing::Values("reno", "cubic"), [](const auto& of) { return of.param; });

// RFC 9438, section 4.2: W(t) = C (t - K)^3 + W_max, K = cbrt(W_max (1 - beta) / C), C = 0.4, beta = 0.7.
TEST_F(Truth, CubicGrowsAsItsRfcSays) {
  Scenario scenario = dumbbell({.rate = 50'000'000, .rtt = 100ms, .duration = 90s});
  scenario.sample = 10ms;
  const RunResult result = run(scenario);
  const auto& at = result.flows[0].samples;
  // From the end of a recovery to the next loss. The first came of slow start, and so the second was at a smaller window,
  // for which section 4.7 (fast convergence) has another W_max.
  std::vector<std::size_t> losses;
  for (std::size_t i = 1; i < at.size(); ++i) {
    if (at[i].retransmits == at[i - 1].retransmits) continue;
    if (losses.empty() || result.times[i] - result.times[losses.back()] > 2s) losses.push_back(i);
  }
  ASSERT_GE(losses.size(), 4u);
  const std::size_t loss = losses[2];
  const double largest = at[loss - 1].cwnd;
  std::size_t begin = loss;
  while (at[begin + 1].cwnd <= at[begin].cwnd || at[begin].cwnd > 0.75 * largest) ++begin;
  const double k = std::cbrt(largest * (1 - 0.7) / 0.4);
  unsigned compared = 0;
  for (std::size_t i = begin; i < losses[3] - 30; i += 50) {
    const double t = std::chrono::duration<double>(result.times[i] - result.times[begin]).count();
    const double expected = 0.4 * std::pow(t - k, 3) + largest;
    EXPECT_NEAR(at[i].cwnd / expected, 1, 0.05) << "after " << t << " s, K " << k << " s";
    ++compared;
  }
  EXPECT_GT(compared, 10u);
}

// RFC 8257: senders of DCTCP hold the queue about the threshold K, and overshoot it by their number of segments.
TEST_F(Truth, DctcpHoldsItsQueueAtTheThreshold) {
  const RunResult result = run(ready("datacentre-ecn"));
  const auto& queue = named(result.queues, "switch-sink");
  double sum = 0;
  std::uint64_t largest = 0;
  std::size_t n = 0;
  for (std::size_t i = queue.samples.size() / 2; i < queue.samples.size(); ++i, ++n) {
    sum += double(queue.samples[i].packets);
    largest = std::max(largest, queue.samples[i].packets);
  }
  EXPECT_NEAR(sum / double(n), 65, 20);
  EXPECT_LT(largest, 65 + 40u);
  EXPECT_EQ(queue.samples.back().drops, 0u);
  EXPECT_GT(named(summarise(result).queues, "switch-sink").utilisation, 0.9);
}

// Cardwell, Cheng, Gunn, Yeganeh and Jacobson 2016: at most cwnd_gain = 2 bandwidth-delay products in flight.
TEST_F(Truth, BbrKeepsTwiceTheBandwidthDelayProductInFlight) {
  Scenario scenario = dumbbell({.controls = {"bbr"}, .rate = 20'000'000, .rtt = 50ms,
                                .buffer = {20, Limit::Unit::kBdp}, .duration = 30s});
  scenario.sample = 10ms;
  const RunResult result = run(scenario);
  const double bdp = 20e6 / 8 * 0.05 / 1514;  // segments
  double largest = 0, sum = 0;
  std::size_t n = 0;
  for (std::size_t i = result.times.size() / 3; i < result.times.size(); ++i, ++n) {
    largest = std::max(largest, double(result.flows[0].samples[i].in_flight));
    sum += result.flows[0].samples[i].in_flight;
  }
  EXPECT_LT(largest, 2 * bdp + 10);  // and three quanta of what is sent at once
  EXPECT_GT(sum / double(n), 0.9 * bdp);
  EXPECT_GT(named(summarise(result).queues, "left-right").utilisation, 0.9);
}

// Within what a loaded machine's timers add: a token bucket of one packet loses what it could not send in time. The best
// of some runs, as others may have the CPU for longer than the bucket's queue lasts.
TEST_F(Truth, IsMuchTheSameInRealTime) {
  const Scenario scenario =
      dumbbell({.controls = {"reno"}, .rate = 1'000'000, .buffer = {30, Limit::Unit::kPackets}, .duration = 5s});
  const auto field = [](const std::string& in, const std::string& name) {
    const auto found = in.rfind("\"" + name + "\":");
    return std::stod(in.substr(found + name.size() + 3));
  };
  const std::string virtually = samples(scenario);
  double goodput = 0, srtt = 0;
  const auto near = [&] { return std::abs(goodput - 1) < 0.2 && std::abs(srtt - 1) < 0.4; };
  for (int turn = 0; turn < 5 && !near(); ++turn) {
    const std::string really = samples(scenario, Clock::kReal);
    if (HasFailure()) return;
    goodput = field(really, "goodput_bit_s") / field(virtually, "goodput_bit_s");
    srtt = field(really, "srtt_ms") / field(virtually, "srtt_ms");
  }
  EXPECT_TRUE(near()) << "goodput: " << goodput << " of that in virtual time, smoothed rtt: " << srtt;
}

}  // namespace
}  // namespace lkm::lab
