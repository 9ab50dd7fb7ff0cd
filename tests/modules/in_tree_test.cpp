// SPDX-License-Identifier: GPL-2.0
//
// Modules of the kernel itself, built from copies of their sources that the test edits, and renewed
// under traffic.
#include <linux/dccp.h>
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cstring>

#include "tests/modules/module_test.hpp"
#include "tests/protocols/stack_test.hpp"
#include "toolkit/flow/flow.hpp"
#include "toolkit/net/links.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class InTree : public ModuleTest {};

/// The counters of the fq that is the root of the link.
tc_fq_qd_stats fq_counters(Stack& stack, const std::string& netns, const std::string& link) {
  tc_fq_qd_stats counters{};
  auto rtnl = Rtnl::open(stack, netns);
  auto netlink = Netlink::open(stack, netns, NETLINK_ROUTE);
  EXPECT_TRUE(rtnl && netlink);
  const int device = static_cast<int>(rtnl->link_index(link).value());
  NetlinkMessage message(RTM_GETQDISC);
  message.extra<tcmsg>().tcm_ifindex = device;
  bool found = false;
  const auto dumped = netlink->dump(message, "dump qdiscs", [&](const nlmsghdr* answer) {
    const auto* info = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(answer));
    if (info->tcm_ifindex != device || info->tcm_parent != TC_H_ROOT) return;
    for_each_attribute(answer, sizeof *info, [&](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) != TCA_XSTATS) return;
      found = true;
      std::memcpy(&counters, mnl_attr_get_payload(attribute),
                  std::min<std::size_t>(sizeof counters, mnl_attr_get_payload_len(attribute)));
    });
  });
  EXPECT_TRUE(dumped && found);
  return counters;
}

void finish(Stack& stack, const std::shared_ptr<Flow>& flow) {
  flow->stop();
  EXPECT_TRUE(flow->wait(stack.now() + 60s));
  const FlowReport report = flow->report();
  EXPECT_EQ(report.state, FlowState::kDone) << report.error;
  EXPECT_EQ(report.bytes_verified, report.bytes_sent);
  EXPECT_GT(report.bytes_sent, 0u);
}

// sch_fq paces the flow: packets wait in its trees, the watchdog's timer is armed.
TEST_F(InTree, SchFqIsRenewedWithThePacketsThatItPaces) {
  const std::string file = "net/sched/sch_fq.c";
  const auto plain = in_tree(file, {});
  const auto other =
      in_tree(file, {{"sch_fq.c", "q->stat_throttled++;", "q->stat_throttled += 1000000;"},
                     {"sch_fq.c", "= q->stat_horizon_caps;", "= q->stat_horizon_caps + 7;"}});
  const auto larger = in_tree(
      file,
      {{"sch_fq.c", "q->stat_throttled++;", "q->stat_throttled += 1000000;"},
       {"sch_fq.c", "= q->stat_horizon_caps;", "= q->stat_horizon_caps + 7;"},
       {"sch_fq.c", "\tstruct rb_root\tdelayed;", "\tu64\t\tin_front;\n\tstruct rb_root\tdelayed;"},
       {"sch_fq.c", "\tu64\t\tstat_gc_flows;", "\tu64\t\textra;\n\tu64\t\tstat_gc_flows;"}});
  boot(
      [&](Stack& stack) {
        ASSERT_TRUE(stack.load(plain));
        const auto link = Links(stack).add({.a = "left", .b = "right"});
        ASSERT_TRUE(link) << link.error().message();
        ASSERT_TRUE(Rtnl::open(stack, "left")->qdisc_set("link0", "fq"));
        const auto flow =
            Flow::start(stack, {.route = {.client = "left", .server = "right", .control = "bbr"}});
        ASSERT_TRUE(flow) << flow.error().message();
        std::uint64_t throttled = 0;
        for (int round = 1; round <= 10; ++round) {
          const bool changed = round % 2 != 0;
          stack.sleep_for(50ms);
          if (round % 4 == 3) {
            expect_rearranged(stack, larger, "struct fq_sched_data: 'extra' is new, and zero");
          } else {
            expect_renewed(stack, changed ? other : plain);
          }
          const auto before = fq_counters(stack, "left", "link0");
          EXPECT_GE(before.throttled, throttled) << "what was counted is kept";
          EXPECT_EQ(before.horizon_caps, changed ? 7u : 0u);
          stack.sleep_for(50ms);
          throttled = fq_counters(stack, "left", "link0").throttled;
          EXPECT_GT(throttled, before.throttled) << "it still paces";
          EXPECT_EQ((throttled - before.throttled) % 1'000'000 == 0, changed);
          if (HasFailure()) return;
        }
        finish(stack, *flow);
        ASSERT_TRUE(Rtnl::open(stack, "left")->qdisc_del("link0"));
        expect_unloads(stack, "sch_fq");
      },
      Clock::kReal);
}

TEST_F(InTree, BbrIsRenewedUnderAFlow) {
  const std::string file = "net/ipv4/tcp_bbr.c";
  const auto plain = in_tree(file, {});
  const auto other =
      in_tree(file, {{"tcp_bbr.c", "cwnd = max(cwnd, bbr_cwnd_min_target);", "cwnd = 7;"}});
  boot([&](Stack& stack) {
    ASSERT_TRUE(stack.load(plain));
    const auto link =
        Links(stack).add({.a = "left", .b = "right", .rate = 20'000'000, .delay = 20ms});
    ASSERT_TRUE(link) << link.error().message();
    const auto flow =
        Flow::start(stack, {.route = {.client = "left", .server = "right", .control = "bbr"}});
    ASSERT_TRUE(flow) << flow.error().message();
    for (int round = 1; round <= 10; ++round) {
      const bool changed = round % 2 != 0;
      stack.sleep_for(2s);
      expect_renewed(stack, changed ? other : plain);
      stack.sleep_for(1s);
      const auto tcp = (*flow)->report().tcp;
      ASSERT_TRUE(tcp);
      EXPECT_EQ(tcp->cwnd <= 7, changed) << tcp->cwnd;
      if (HasFailure()) return;
    }
    finish(stack, *flow);
    expect_unloads(stack, "tcp_bbr");
  });
}

// The kernel's own transport protocol, under a connection: its sockets, a listener, the data of
// each netns.
TEST_F(InTree, DccpIsRenewedUnderAConnection) {
  const std::string file = "net/dccp/ipv4.c", module = "dccp_ipv4";
  const auto plain = in_tree(file, {}, module);
  const auto other = in_tree(file,
                             {{"ipv4.c", "if (sk->sk_state == DCCP_OPEN) { /* Fast path */",
                               "if (sk->sk_state == DCCP_OPEN) {\n\t\tsk->sk_mark++;"}},
                             module);
  const auto larger =
      in_tree(file,
              {{"ipv4.c", "if (sk->sk_state == DCCP_OPEN) { /* Fast path */",
                "if (sk->sk_state == DCCP_OPEN) {\n\t\tsk->sk_mark++;"},
               {"ipv4.c", "struct dccp_v4_pernet {", "struct dccp_v4_pernet {\n\tu64 extra;"}},
              module);
  boot([&](Stack& stack) {
    const auto loaded = stack.load(plain);
    ASSERT_TRUE(loaded) << loaded.error().message();
    const auto connect = [&] {
      return connect_sockets(stack, "127.0.0.1", SOCK_DCCP, IPPROTO_DCCP, [](StackFd& socket) {
        constexpr int kSolDccp = 269;  // SOL_DCCP of linux/socket.h, which uapi does not have
        succeeds(socket.set_option(kSolDccp, DCCP_SOCKOPT_SERVICE, htonl(42)), "service code");
      });
    };
    auto pair = connect();
    ASSERT_TRUE(pair);
    std::uint32_t marked = 0;
    for (int round = 0; round < 6; ++round) {
      expect_delivers(pair->client, pair->server, "a datagram");
      expect_delivers(pair->server, pair->client, "and its answer");
      std::uint32_t mark = 0;
      socklen_t length = sizeof mark;
      ASSERT_EQ(pair->server.call(SYS_getsockopt, SOL_SOCKET, SO_MARK, &mark, &length), 0);
      EXPECT_EQ(mark > marked, round % 2 != 0) << mark;
      marked = mark;
      auto anew = connect();
      ASSERT_TRUE(anew);
      expect_delivers(anew->client, anew->server, "of a connection that the present code made");
      if (round % 4 == 2) {
        expect_rearranged(stack, larger, "struct dccp_v4_pernet: 'extra' is new, and zero");
      } else {
        expect_renewed(stack, round % 2 == 0 ? other : plain);
      }
      if (HasFailure()) return;
    }
  });
}

}  // namespace
}  // namespace lkm
