// SPDX-License-Identifier: GPL-2.0
#include <netinet/in.h>

#include <algorithm>

#include "tests/lab/lab_test.hpp"
#include "toolkit/lab/in_child.hpp"
#include "toolkit/lab/presets.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

using ANetwork = LabTest;

TEST_F(ANetwork, HasExactlyTheDelayAndTheRateOfItsLinks) {
  Scenario scenario;
  scenario.duration = 10s;
  scenario.links.push_back({.a = "x", .b = "y", .delay = 30ms});
  scenario.links.push_back({.a = "y", .b = "z", .rate = 8'000'000, .delay = 20ms, .limit = {20, Limit::Unit::kPackets}});
  scenario.flows.push_back({.kind = FlowKind::kRequests, .from = "x", .to = "y", .interval = 100ms});
  scenario.flows.push_back({.name = "half", .kind = FlowKind::kUdp, .from = "y", .to = "z", .rate = 4'000'000,
                            .datagram = 1472});
  const RunResult result = run(scenario);
  const Summary summary = summarise(result);
  EXPECT_EQ(result.flows[0].latencies.at(5), 60ms);
  const auto& udp = named(summary.flows, "half");
  EXPECT_NEAR(udp.goodput, 4e6, 4e4);
  // Header bytes count: 1514 for each 1472.
  EXPECT_NEAR(named(summary.queues, "y-z").utilisation, 0.5 * 1514 / 1472, 0.01);
}

TEST_F(ANetwork, PassesSegmentsOneByOne) {
  Scenario scenario = dumbbell({.rate = 20'000'000, .duration = 5s});
  const RunResult result = run(scenario);
  const QueueSample& last = named(result.queues, "left-right").samples.back();
  EXPECT_GT(last.sent_packets, 5000u);
  EXPECT_LE(double(last.sent_bytes) / double(last.sent_packets), 1514);
}

TEST_F(ANetwork, IsCapturedWhole) {
  options_.capture = true;
  const RunResult result = run(dumbbell({.rate = 20'000'000, .duration = 5s}));
  ASSERT_EQ(result.captures.size(), 1u);
  const auto packets = packets_of(result.captures.at("left-right"));
  EXPECT_TRUE(std::ranges::is_sorted(packets, {}, &Packet::at));
  for (const Packet& packet : packets) EXPECT_LE(packet.bytes, 1514u);
  // Both ways; at this moment some are between the two ends.
  const auto sent = [&](const char* queue) { return double(named(result.queues, queue).samples.back().sent_packets); };
  EXPECT_NEAR(double(packets.size()), sent("left-right") + sent("right-left"), 60);
}

TEST_F(ANetwork, LosesTheShareThatItShould) {
  Scenario scenario;
  scenario.duration = 20s;
  scenario.links.push_back({.a = "x", .b = "y", .loss = 0.05});
  scenario.flows.push_back({.kind = FlowKind::kUdp, .from = "x", .to = "y", .rate = 9'600'000});
  EXPECT_NEAR(summarise(run(scenario)).flows[0].lost, 0.05, 0.007);
}

TEST_F(ANetwork, ChangesItsRateAndItsLinksWhenItIsToldTo) {
  Scenario scenario = dumbbell({.rate = 20'000'000, .duration = 20s});
  scenario.events = {{.at = 5s, .kind = EventSpec::Kind::kRate, .target = "left-right", .rate = 5'000'000},
                     {.at = 10s, .kind = EventSpec::Kind::kLinkDown, .target = "left-right"},
                     {.at = 12s, .kind = EventSpec::Kind::kLinkUp, .target = "left-right"}};
  const RunResult result = run(scenario);
  const auto goodput = [&](std::size_t from, std::size_t to) {  // in tenths of a second
    const auto& at = result.flows[0].samples;
    return double(at[to].bytes_received - at[from].bytes_received) * 80 / double(to - from);
  };
  EXPECT_GT(goodput(20, 50), 17e6);
  EXPECT_LT(goodput(60, 100), 5e6);
  EXPECT_GT(goodput(60, 100), 4e6);
  EXPECT_EQ(goodput(105, 120), 0);
  EXPECT_GT(goodput(160, 200), 3.5e6);
}

TEST_F(ANetwork, MarksInsteadOfDropping) {
  const Scenario scenario =
      dumbbell({.controls = {"cubic"}, .rate = 20'000'000, .qdisc = "codel", .ecn = true, .duration = 20s});
  const Summary summary = summarise(run(scenario));
  const auto& queue = named(summary.queues, "left-right");
  EXPECT_GT(queue.marked, 0u);
  EXPECT_LT(queue.delay_ms.p95, 15);
  EXPECT_GT(queue.utilisation, 0.9);
}

// A queue of 20 packets that is always full: a packet finds 19 others and whatever is left of the one under way.
TEST_F(ANetwork, TellsHowLongEachPacketWasInAQueue) {
  for (const unsigned delay_ms : {0, 30}) {
    Scenario scenario;
    scenario.duration = 5s;
    scenario.links.push_back({.a = "x", .b = "y", .rate = 12'112'000, .delay = delay_ms * 1ms,
                              .limit = {20, Limit::Unit::kPackets}});  // a millisecond for each frame of 1514 bytes
    scenario.flows.push_back({.name = "much", .kind = FlowKind::kUdp, .from = "x", .to = "y", .rate = 15'000'000,
                              .datagram = 1472});
    const auto result = run_in_child(scenario, options_);
    ASSERT_TRUE(result) << result.error().message();
    const QueueSeries& queue = named(result->queues, "x-y");
    EXPECT_EQ(queue.sojourns.count, queue.samples.back().sent_packets);
    const QueueSummary summary = named(summarise(*result).queues, "x-y");
    for (const double ms : {summary.delay_ms.p50, summary.delay_ms.p95, summary.delay_ms.p99}) {
      EXPECT_GE(ms, 19 * 0.999);
      EXPECT_LE(ms, 20 * 1.001);
    }
    EXPECT_NEAR(double(queue.samples[20].sojourn_mean.count()), 19.5e6, 0.5e6);
    EXPECT_LE(queue.samples[20].sojourn_longest, 20ms);
    EXPECT_NEAR(double(queue.samples[20].left), 100, 1);
  }
}

// Nor does a delay that is another one for each packet have a part in it.
TEST_F(ANetwork, TellsTheQueueFromADelayThatVaries) {
  Scenario scenario;
  scenario.duration = 5s;
  scenario.links.push_back({.a = "x", .b = "y", .rate = 12'112'000, .delay = 30ms, .jitter = 10ms,
                            .limit = {20, Limit::Unit::kPackets}});
  scenario.flows.push_back({.name = "much", .kind = FlowKind::kUdp, .from = "x", .to = "y", .rate = 15'000'000,
                            .datagram = 1472});
  scenario.flows.push_back({.name = "back", .kind = FlowKind::kUdp, .from = "y", .to = "x", .ip = IpFamily::kV6,
                            .rate = 1'000'000, .datagram = 100});
  Scenario thin = scenario;
  thin.flows[0].rate = 1'000'000;
  const auto waits = [&](const Scenario& of) {
    auto result = run_in_child(of, options_);
    EXPECT_TRUE(result);
    return named(result->queues, "x-y").sojourns;
  };
  const Times full = waits(scenario), idle = waits(thin);
  EXPECT_GE(full.quantile(0.5), 18ms);
  EXPECT_LE(full.quantile(0.99), 20'020us);
  EXPECT_GT(idle.count, 400u);
  EXPECT_LT(idle.quantile(0.5), 100us);
  EXPECT_LT(idle.quantile(0.99), 5ms);  // some come together
}

// fq_codel lets the packets of a thin flow pass a thick flow's: backlog over rate would be true of the thick one only.
TEST_F(ANetwork, TellsTheTimesOfPacketsThatPassOthers) {
  Scenario scenario = dumbbell({.rate = 10'000'000, .qdisc = "fq_codel", .duration = 10s});
  scenario.flows.push_back({.name = "thin", .kind = FlowKind::kUdp, .from = "s1", .to = "r1", .rate = 400'000,
                            .datagram = 100});
  const RunResult result = run(scenario);
  const QueueSeries& queue = named(result.queues, "left-right");
  EXPECT_GT(queue.sojourns.count, 10'000u);
  // 500 packets a second of about 1200 are the thin flow's: they wait for the one on the wire, of 1.2 ms, at most.
  EXPECT_LT(queue.sojourns.quantile(0.40), 1300us);
  EXPECT_GT(queue.sojourns.quantile(0.95), 5ms);  // CoDel's target for the thick one
}

// Over IPv6 a packet is 20 bytes longer, and all else the same. Nothing is on the wire but the flows: no neighbour is asked
// for, no router, no group.
TEST_F(ANetwork, CarriesIpVersionSix) {
  Scenario scenario = dumbbell({.controls = {"cubic", "reno"}, .rate = 20'000'000, .duration = 20s});
  for (FlowSpec& flow : scenario.flows) flow.ip = IpFamily::kV6;
  scenario.flows.push_back({.name = "udp", .kind = FlowKind::kUdp, .from = "s1", .to = "r2", .ip = IpFamily::kV6,
                            .rate = 500'000});
  Scenario interrupted = scenario;
  interrupted.events = {{.at = 5s, .kind = EventSpec::Kind::kLinkDown, .target = "left-right"},
                        {.at = 6s, .kind = EventSpec::Kind::kLinkUp, .target = "left-right"}};
  options_.capture = false;
  const auto later = run_in_child(interrupted, options_);
  ASSERT_TRUE(later) << later.error().message();
  const auto& reno = named(later->flows, "reno").samples;
  EXPECT_EQ(reno[52].bytes_received, reno[59].bytes_received);
  EXPECT_GT(reno[200].bytes_received - reno[100].bytes_received, 5'000'000u) << "the addresses went with the link";

  options_.capture = true;
  const RunResult result = run(scenario);
  const Summary summary = summarise(result);
  // 1428 of 1514 bytes are data (60 of IPv6 and TCP, 12 of its time stamps), less UDP's part.
  const double tcp = named(summary.flows, "cubic").goodput + named(summary.flows, "reno").goodput;
  EXPECT_NEAR(tcp, 20e6 * 1428 / 1514 - 0.53e6, 0.6e6);
  EXPECT_EQ(named(result.flows, "cubic").samples.back().mss, 1428u);
  EXPECT_GT(named(summary.flows, "udp").goodput, 0.44e6);
  const std::string& capture = result.captures.at("left-right");
  std::size_t packets = 0;
  for_each_frame(capture, [&](std::string_view frame) {
    ++packets;
    ASSERT_GE(frame.size(), 54u);
    EXPECT_EQ(frame.substr(12, 2), "\x86\xdd");
    EXPECT_TRUE(frame[20] == IPPROTO_TCP || frame[20] == IPPROTO_UDP) << int(frame[20]);
  });
  EXPECT_GT(packets, 20'000u);
}

TEST_F(ANetwork, IsOfBothVersionsWhereFlowsAre) {
  Scenario scenario = dumbbell({.controls = {"cubic", "cubic"}, .rate = 20'000'000, .duration = 10s});
  scenario.flows[1].ip = IpFamily::kV6;
  const RunResult result = run(scenario);
  EXPECT_EQ(result.flows[0].samples.back().mss, 1448u);
  EXPECT_EQ(result.flows[1].samples.back().mss, 1428u);
  for (const FlowSummary& flow : summarise(result).flows) EXPECT_GT(flow.goodput, 4e6) << flow.name;
}

// More descriptors than a process of the kernel may have, if nobody says otherwise.
TEST_F(ANetwork, CarriesAThousandFlows) {
  const RunResult result = run(dumbbell({.flows = 1000, .rate = 100'000'000, .buffer = {2, Limit::Unit::kBdp}, .duration = 5s}));
  ASSERT_EQ(result.flows.size(), 1000u);
  // run() has seen that none has an error. In five seconds, with three packets for each in the queue, not all get a turn.
  std::uint64_t all = 0;
  for (const FlowSeries& flow : result.flows) all += flow.samples.back().bytes_received;
  EXPECT_GT(double(all) * 8 / 5, 80e6);
  EXPECT_GT(std::ranges::count_if(result.flows, [](const FlowSeries& flow) { return flow.samples.back().connected; }), 950);
}

TEST_F(ANetwork, IsMeasuredAsFarAsItIsToBe) {
  Scenario scenario = dumbbell({.rate = 10'000'000, .duration = 2s});
  scenario.measure = {.tcp = false, .queues = true, .sojourns = false, .variables = false};
  const auto queues = run_in_child(scenario, options_);
  ASSERT_TRUE(queues);
  EXPECT_EQ(queues->flows[0].samples.back().cwnd, 0u);
  EXPECT_GT(queues->flows[0].samples.back().bytes_received, 1'000'000u);
  EXPECT_EQ(named(queues->queues, "left-right").sojourns.count, 0u);
  EXPECT_GT(named(queues->queues, "left-right").samples.back().sent_packets, 1000u);
  scenario.measure.queues = false;
  const auto none = run_in_child(scenario, options_);
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->queues.empty());
  // What is looked at changes nothing.
  EXPECT_EQ(none->flows[0].samples.back().bytes_received, queues->flows[0].samples.back().bytes_received);
}

TEST_F(ANetwork, ServesShortTransfers) {
  Scenario scenario = ready("short-vs-long");
  scenario.duration = 10s;
  const Summary summary = summarise(run(scenario));
  const auto& transfers = named(summary.flows, "short");
  EXPECT_GT(transfers.completed, 150u);
  EXPECT_GT(transfers.latency_ms.p50, 80);  // two round trips at least
}

TEST_F(ANetwork, RefusesAControlThatIsNotThere) {
  auto result = lab::run(dumbbell({.controls = {"nonesuch"}, .duration = 1s}), options_);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().what().find("nonesuch"), std::string::npos);
  EXPECT_FALSE(result.error().hint().empty());
}

}  // namespace
}  // namespace lkm::lab
