// SPDX-License-Identifier: GPL-2.0
//
// Emulated links, as the traffic over them sees them.
#include "toolkit/net/links.hpp"

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class LinksOfAStack : public StackTest {
 protected:
  static constexpr const char* kClient = "client";
  static constexpr const char* kServer = "server";
  static void add(Links& links, LinkSpec spec) {
    spec.a = kClient;
    spec.b = kServer;
    const auto link = links.add(spec);
    ASSERT_TRUE(link) << link.error().message();
  }
  static Route route(IpFamily family = IpFamily::kV4) {
    return {.client = kClient, .server = kServer, .family = family};
  }
};

TEST_F(LinksOfAStack, DelayBothWays) {
  boot(
      [](Stack& stack) {
        Links links(stack);
        add(links, {.delay = 10ms});
        for (const IpFamily family : {IpFamily::kV4, IpFamily::kV6}) {
          const FlowReport report = expect_intact(
              stack, {.kind = FlowKind::kRequests, .route = route(family), .requests = 10});
          EXPECT_GE(report.gaps.p50, 20ms);
          EXPECT_LT(report.gaps.p50, 40ms);
          ASSERT_TRUE(report.tcp);
          EXPECT_GE(report.tcp->min_rtt, 20ms);
        }
      },
      Clock::kVirtual);
}

TEST_F(LinksOfAStack, LimitTheRate) {
  boot(
      [](Stack& stack) {
        Links links(stack);
        add(links, {.rate = 50'000'000, .delay = 1ms});
        const FlowReport report = expect_intact(stack, {.route = route(), .duration = 1s});
        EXPECT_LT(report.rate, 50e6);
        EXPECT_GT(report.rate, 35e6);
      },
      Clock::kVirtual);
}

// The queue drops as a router does: the sender learns of it by duplicate acknowledgements, and not
// from its own device.
TEST_F(LinksOfAStack, DropWhatTheQueueCannotHold) {
  boot(
      [](Stack& stack) {
        Links links(stack);
        add(links, {.rate = 20'000'000, .delay = 5ms, .queue = 20});
        const FlowReport report = expect_intact(stack, {.route = route(), .duration = 2s});
        ASSERT_TRUE(report.tcp);
        EXPECT_GT(report.tcp->retransmits, 0u);
        EXPECT_GT(report.rate, 10e6);
        EXPECT_LT(report.rate, 20e6);
        // 20 packets at 20 Mbit/s are 12 ms of waiting at most.
        EXPECT_LT(report.tcp->rtt, 10ms + 12ms + 5ms);
      },
      Clock::kVirtual);
}

TEST_F(LinksOfAStack, LosePacketsAndTcpMendsIt) {
  boot(
      [](Stack& stack) {
        Links links(stack);
        add(links, {.rate = 100'000'000, .delay = 1ms, .loss = 0.01});
        const FlowReport report = expect_intact(stack, {.route = route(), .bytes = 4 << 20});
        ASSERT_TRUE(report.tcp);
        EXPECT_GT(report.tcp->retransmits, 0u);
      },
      Clock::kVirtual);
}

TEST_F(LinksOfAStack, CarryMptcp) {
  boot([](Stack& stack) {
    Links links(stack);
    add(links, {.rate = 100'000'000, .delay = 1ms});
    Route over = route();
    over.transport = Transport::kMptcp;
    expect_intact(stack, {.route = over, .bytes = 2 << 20});
  });
}

TEST_F(LinksOfAStack, LeaveNothingBehindWhenRefused) {
  boot(
      [](Stack& stack) {
        Links links(stack);
        const auto refused = links.add({.a = kClient, .b = kServer, .loss = 1.5});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().errno_value(), EINVAL);
        EXPECT_TRUE(links.list().empty());
        EXPECT_TRUE(stack.netns_list().empty());
        EXPECT_FALSE(links.add({.a = kClient, .b = kClient}));
        EXPECT_FALSE(links.add({.a = kClient, .b = kServer, .queue = 5}));
        EXPECT_EQ(links.remove(0).error().errno_value(), ENOENT);
        add(links, {});
        EXPECT_TRUE(links.remove(0));
        EXPECT_TRUE(links.list().empty());
      },
      Clock::kVirtual);
}

TEST_F(LinksOfAStack, FailAFlowWhoseLinkIsGone) {
  boot(
      [](Stack& stack) {
        Links links(stack);
        add(links, {.rate = 10'000'000});
        auto flow = Flow::start(stack, {.route = route()});
        ASSERT_TRUE(flow) << flow.error().message();
        ASSERT_TRUE(links.remove(0));
        (*flow)->stop();
        EXPECT_FALSE((*flow)->wait(stack.now() + 50ms)) << "its tail cannot arrive";
        (*flow)->abort();
        ASSERT_TRUE((*flow)->wait(stack.now() + 5s));
        EXPECT_EQ((*flow)->report().state, FlowState::kFailed);
      },
      Clock::kVirtual);
}

}  // namespace
}  // namespace lkm
