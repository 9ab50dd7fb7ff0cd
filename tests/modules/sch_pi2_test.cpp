// SPDX-License-Identifier: GPL-2.0
//
// The qdisc of modules/sch_pi2 below a token bucket, which makes the queue that it is to keep
// short.
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <vector>

#include "modules/sch_pi2/sch_pi2_user.h"
#include "tests/modules/module_test.hpp"
#include "tests/protocols/stack_test.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kRate = 20'000'000;  // bit/s
constexpr std::uint32_t kRoot = 1U << 16, kLeaf = kRoot | 1;
constexpr double kOne = 4294967295.0;  // probability 1

using Options = std::vector<std::pair<std::uint16_t, std::uint32_t>>;

struct Statistics {
  std::uint64_t sent = 0;  // packets
  std::uint32_t waiting = 0, drops = 0;
  tc_pi2_xstats pi2{};
  std::map<int, std::uint32_t> options;
};

/// A packet's payload bytes on the wire with UDP, IP and Ethernet headers; what tbf counts.
constexpr unsigned wire(unsigned payload) { return payload + 8 + 20 + 14; }

/// eth0 of "left" leads to "right" at kRate, with pi2 in front.
class Bottleneck {
 public:
  static std::optional<Bottleneck> make(Stack& stack) {
    for (const char* name : {"left", "right"}) {
      if (!stack.netns_add(name)) return {};
      // So that nothing but the test's packets is dropped and counted: no neighbour discovery.
      set(stack, name, "net.ipv6.conf.all.disable_ipv6", "1");
      set(stack, name, "net.ipv6.conf.default.disable_ipv6", "1");
    }
    auto left = Rtnl::open(stack, "left"), right = Rtnl::open(stack, "right");
    auto netlink = Netlink::open(stack, "left", NETLINK_ROUTE);
    if (!left || !right || !netlink) return {};
    if (!left->veth_add("eth0",
                        {.peer_netns = "right", .peer = "eth0", .segmentation_offload = false}) ||
        !left->addr_add("eth0", IpPrefix::parse("10.1.0.1/24").value()) ||
        !right->addr_add("eth0", IpPrefix::parse("10.1.0.2/24").value()) ||
        !left->link_up("eth0") || !right->link_up("eth0") ||
        !right->qdisc_netem("eth0", {.delay = 20ms}))
      return {};
    for (const char* name : {"left", "right"})
      set(stack, name, "net.ipv4.neigh.eth0.base_reachable_time_ms", "1000000000");
    greet(stack);
    Bottleneck made(stack, std::move(*netlink), static_cast<int>(left->link_index("eth0").value()));
    const auto root = made.tbf();
    EXPECT_TRUE(root) << root.error().message();
    return made;
  }

  /// Makes the leaf, or changes it.
  Result<void> pi2(const Options& options, std::uint16_t flags = NLM_F_CREATE | NLM_F_REPLACE) {
    NetlinkMessage message(RTM_NEWQDISC, flags);
    start(message, kLeaf, "pi2");
    nlattr* nest = mnl_attr_nest_start(message.header(), TCA_OPTIONS);
    for (const auto& [type, value] : options) mnl_attr_put_u32(message.header(), type, value);
    mnl_attr_nest_end(message.header(), nest);
    return netlink_.request(message, "set pi2");
  }
  /// Until nothing waits, and what has left has arrived at the other end: time is virtual.
  void drain() {
    for (int i = 0; i < 100 && statistics().waiting > 0; ++i) stack_->sleep_for(50ms);
    stack_->sleep_for(50ms);
  }
  Result<void> remove() {
    NetlinkMessage message(RTM_DELQDISC);
    start(message, TC_H_ROOT, nullptr);
    return netlink_.request(message, "delete the qdiscs");
  }

  Statistics statistics() {
    Statistics out;
    bool found = false;
    NetlinkMessage message(RTM_GETQDISC);
    message.extra<tcmsg>().tcm_ifindex = device_;
    const auto dumped = netlink_.dump(message, "dump qdiscs", [&](const nlmsghdr* answer) {
      const auto* info = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(answer));
      if (info->tcm_parent != kLeaf || info->tcm_ifindex != device_) return;
      found = true;
      for_each_attribute(answer, sizeof *info,
                         [&](const nlattr* attribute) { read(attribute, out); });
    });
    EXPECT_TRUE(dumped && found);
    return out;
  }

  /// Sets a sysctl of the netns.
  static void set(Stack& stack, const std::string& netns, const std::string& name,
                  const std::string& value) {
    auto fiber = stack.spawn("sysctl", [&] {
      ASSERT_TRUE(stack.netns_enter(netns));
      const auto done = stack.sysctl(name, value);
      ASSERT_TRUE(done) << done.error().message();
    });
    ASSERT_TRUE(fiber);
    fiber->join();
  }

 private:
  /// One packet, with the ARP that it needs.
  static void greet(Stack& stack) {
    const auto sender = socket_in(stack, "left", AF_INET, SOCK_DGRAM);
    ASSERT_TRUE(sender);
    const SocketAddress target(IpPrefix::parse("10.1.0.2").value(), 9);
    ASSERT_EQ(sender->call(SYS_sendto, "x", 1, 0, target.get(), target.length), 1);
    stack.sleep_for(1s);
  }

  Bottleneck(Stack& stack, Netlink netlink, int device)
      : stack_(&stack), netlink_(std::move(netlink)), device_(device) {}

  void start(NetlinkMessage& message, std::uint32_t parent, const char* kind) {
    auto& info = message.extra<tcmsg>();
    info.tcm_ifindex = device_;
    info.tcm_parent = parent;
    if (kind == nullptr) return;
    if (parent == TC_H_ROOT) info.tcm_handle = kRoot;
    mnl_attr_put_strz(message.header(), TCA_KIND, kind);
  }
  Result<void> tbf() {
    NetlinkMessage message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
    start(message, TC_H_ROOT, "tbf");
    nlattr* nest = mnl_attr_nest_start(message.header(), TCA_OPTIONS);
    tc_tbf_qopt options{};
    options.rate.rate = kRate / 8;
    options.rate.linklayer = TC_LINKLAYER_ETHERNET;
    options.limit = 100'000'000;
    mnl_attr_put(message.header(), TCA_TBF_PARMS, sizeof options, &options);
    mnl_attr_put_u32(message.header(), TCA_TBF_BURST, 2000);
    mnl_attr_nest_end(message.header(), nest);
    return netlink_.request(message, "set tbf");
  }
  template <typename T>
  static T value(const nlattr* attribute) {
    T out{};
    std::memcpy(&out, mnl_attr_get_payload(attribute),
                std::min<std::size_t>(sizeof out, mnl_attr_get_payload_len(attribute)));
    return out;
  }
  static void read(const nlattr* attribute, Statistics& out) {
    const auto each = [](const nlattr* one, void* data) {
      auto& into = *static_cast<Statistics*>(data);
      switch (mnl_attr_get_type(one)) {
        case TCA_STATS_BASIC:
          into.sent = value<gnet_stats_basic>(one).packets;
          break;
        case TCA_STATS_QUEUE:
          into.waiting = value<gnet_stats_queue>(one).qlen;
          into.drops = value<gnet_stats_queue>(one).drops;
          break;
        case TCA_STATS_APP:
          into.pi2 = value<tc_pi2_xstats>(one);
          break;
      }
      return MNL_CB_OK;
    };
    const auto option = [](const nlattr* one, void* data) {
      static_cast<Statistics*>(data)->options[mnl_attr_get_type(one)] = mnl_attr_get_u32(one);
      return MNL_CB_OK;
    };
    if (mnl_attr_get_type(attribute) == TCA_STATS2) mnl_attr_parse_nested(attribute, each, &out);
    if (mnl_attr_get_type(attribute) == TCA_OPTIONS) mnl_attr_parse_nested(attribute, option, &out);
  }

  Stack* stack_;
  Netlink netlink_;
  int device_;
};

/// Packets of UDP from "left", which "right" counts with their marks.
class Datagrams {
 public:
  Datagrams(Stack& stack, int ecn) : stack_(stack) {
    receiver_ = std::move(socket_in(stack, "right", AF_INET, SOCK_DGRAM).value());
    sender_ = std::move(socket_in(stack, "left", AF_INET, SOCK_DGRAM).value());
    const int large = 64 << 20;
    EXPECT_EQ(sender_.set_option(SOL_SOCKET, SO_SNDBUFFORCE, large), 0);
    EXPECT_EQ(receiver_.set_option(SOL_SOCKET, SO_RCVBUFFORCE, large), 0);
    EXPECT_EQ(sender_.set_option(IPPROTO_IP, IP_TOS, ecn), 0);
    EXPECT_EQ(receiver_.set_option(IPPROTO_IP, IP_RECVTOS, int{1}), 0);
    target_ = bind_any(receiver_, "10.1.0.2").value();
  }
  void send(unsigned payload) {
    const std::string bytes(payload, 'u');
    const long result = sender_.call(SYS_sendto, bytes.data(), bytes.size(), MSG_DONTWAIT,
                                     target_.get(), target_.length);
    // ENOBUFS: the qdisc dropped it.
    EXPECT_TRUE(result == long(payload) || result == -ENOBUFS) << result;
    ++sent_;
  }
  /// At this rate for this time; the receiver keeps up.
  void send_for(std::chrono::nanoseconds time, double rate, unsigned payload = 1000) {
    const std::chrono::nanoseconds gap(std::llround(wire(payload) * 8e9 / rate));
    for (StackTime next = stack_.now(), end = next + time; next < end; next += gap) {
      if (next > stack_.now()) stack_.sleep_for(next - stack_.now());
      send(payload);
      receive();
    }
  }
  /// Takes all that is there.
  void receive() {
    for (;;) {
      char bytes[2000], control[100];
      iovec vector{bytes, sizeof bytes};
      msghdr header{};
      header.msg_iov = &vector;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      if (receiver_.call(SYS_recvmsg, &header, MSG_DONTWAIT) < 0) return;
      ++received_;
      const cmsghdr* one = CMSG_FIRSTHDR(&header);
      ASSERT_NE(one, nullptr);
      marked_ += (*CMSG_DATA(one) & IPTOS_ECN_MASK) == IPTOS_ECN_CE;
    }
  }
  unsigned sent_ = 0, received_ = 0, marked_ = 0;

 private:
  Stack& stack_;
  StackFd sender_, receiver_;
  SocketAddress target_;
};

class Pi2 : public ModuleTest {
 protected:
  void run(const std::function<void(Stack&, Bottleneck&)>& body) {
    with("sch_pi2", [&](Stack& stack, const std::string& plugin) {
      const auto module = stack.load(plugin);
      ASSERT_TRUE(module) << module.error().message();
      auto bottleneck = Bottleneck::make(stack);
      ASSERT_TRUE(bottleneck);
      body(stack, *bottleneck);
    });
  }
};

/// Empties the queue, and checks that every packet is accounted for, once.
void expect_adds_up(Stack& stack, Bottleneck& bottleneck, Datagrams& traffic) {
  for (int i = 0; i < 100 && bottleneck.statistics().waiting > 0; ++i) {
    stack.sleep_for(100ms);
    traffic.receive();
  }
  stack.sleep_for(10ms);
  traffic.receive();
  const Statistics end = bottleneck.statistics();
  EXPECT_EQ(end.waiting, 0u);
  EXPECT_EQ(end.pi2.packets, end.sent + end.pi2.dropped + end.pi2.overlimit);
  EXPECT_EQ(end.drops, end.pi2.dropped + end.pi2.overlimit);
  // A few others pass, too (IPv6 looks for routers), and may be among the dropped.
  const auto others = end.pi2.packets - traffic.sent_;
  EXPECT_LE(others, 20u);
  EXPECT_GE(traffic.received_, traffic.sent_ - end.drops);
  EXPECT_LE(traffic.received_, traffic.sent_ - end.drops + others);
  EXPECT_EQ(traffic.marked_, end.pi2.marked + end.pi2.marked_l4s);
}

TEST_F(Pi2, FollowsItsControlLaw) {
  run([](Stack& stack, Bottleneck& bottleneck) {
    constexpr double kAlpha = 0.5, kBeta = 5, kTarget = 0.01;  // per second, seconds
    ASSERT_TRUE(bottleneck.pi2({{TCA_PI2_ALPHA, 500},
                                {TCA_PI2_BETA, 5000},
                                {TCA_PI2_TARGET, 10'000},
                                {TCA_PI2_TUPDATE, 20'000}}));
    Datagrams traffic(stack, 0);
    auto sender = stack.spawn("sender", [&] {
      traffic.send_for(3s, 1.3 * kRate);
      traffic.send_for(3s, 0.5 * kRate);
      traffic.send_for(3s, 2.0 * kRate);
    });
    ASSERT_TRUE(sender);
    int checked = 0;
    tc_pi2_xstats last = bottleneck.statistics().pi2;
    while (!sender->done()) {
      stack.sleep_for(2ms);
      const tc_pi2_xstats now = bottleneck.statistics().pi2;
      if (now.updates == last.updates) continue;
      ASSERT_EQ(now.updates, last.updates + 1);
      const double expected = last.prob / kOne + kAlpha * (now.delay_us * 1e-6 - kTarget) +
                              kBeta * (double(now.delay_us) - double(last.delay_us)) * 1e-6;
      // Delays are told in whole microseconds.
      EXPECT_NEAR(now.prob / kOne, std::clamp(expected, 0.0, 1.0), 2e-5);
      last = now;
      ++checked;
    }
    EXPECT_GT(checked, 300);
    expect_adds_up(stack, bottleneck, traffic);
  });
}

// What does not answer must lose the surplus: 1 - 1/1.5.
TEST_F(Pi2, DropsTheSurplusOfUnresponsiveTraffic) {
  run([](Stack& stack, Bottleneck& bottleneck) {
    ASSERT_TRUE(bottleneck.pi2({}));
    Datagrams traffic(stack, 0);
    traffic.send_for(5s, 1.5 * kRate);
    const Statistics before = bottleneck.statistics();
    traffic.send_for(10s, 1.5 * kRate);
    const Statistics after = bottleneck.statistics();
    const double share = double(after.pi2.dropped - before.pi2.dropped) /
                         double(after.pi2.packets - before.pi2.packets);
    EXPECT_NEAR(share, 1.0 / 3, 0.02);
    EXPECT_NEAR(std::pow(after.pi2.prob / kOne, 2), 1.0 / 3, 0.08);
    EXPECT_NEAR(after.pi2.delay_us, 15'000, 8'000);
    EXPECT_EQ(after.pi2.overlimit, 0u);
    EXPECT_EQ(after.pi2.marked + after.pi2.marked_l4s, 0u);
    expect_adds_up(stack, bottleneck, traffic);
  });
}

// With the gains at zero p stays as it is, and the shares can be counted.
TEST_F(Pi2, MarksByTheSquareAndByTwiceP) {
  run([](Stack& stack, Bottleneck& bottleneck) {
    ASSERT_TRUE(bottleneck.pi2({{TCA_PI2_LIMIT, 100'000}}));
    Datagrams plain(stack, 0), classic(stack, 2), scalable(stack, 1);
    plain.send_for(3s, 1.1 * kRate);
    ASSERT_TRUE(bottleneck.pi2({{TCA_PI2_ALPHA, 0}, {TCA_PI2_BETA, 0}}));
    const Statistics start = bottleneck.statistics();
    const double p = start.pi2.prob / kOne;
    ASSERT_GT(p, 0.15);
    ASSERT_LT(p, 0.49);
    constexpr int kPackets = 20'000;
    const auto expect_share = [&](std::uint32_t count, double share) {
      EXPECT_NEAR(count, kPackets * share, 5 * std::sqrt(kPackets * share * (1 - share)));
    };
    for (int i = 0; i < kPackets; ++i) plain.send(100);
    const Statistics a = bottleneck.statistics();
    expect_share(a.pi2.dropped - start.pi2.dropped, p * p);
    for (int i = 0; i < kPackets; ++i) classic.send(100);
    const Statistics b = bottleneck.statistics();
    expect_share(b.pi2.marked - a.pi2.marked, p * p);
    for (int i = 0; i < kPackets; ++i) scalable.send(100);
    const Statistics c = bottleneck.statistics();
    expect_share(c.pi2.marked_l4s - b.pi2.marked_l4s, 2 * p);
    EXPECT_EQ(c.pi2.dropped, a.pi2.dropped) << "what can be marked is not dropped";
    EXPECT_EQ(c.pi2.prob, start.pi2.prob);

    // The marks arrive.
    for (bool waits = true; waits;) {
      stack.sleep_for(20ms);
      waits = bottleneck.statistics().waiting > 0;
      stack.sleep_for(10ms);
      for (Datagrams* one : {&plain, &classic, &scalable}) one->receive();
    }
    EXPECT_EQ(classic.received_, unsigned(kPackets));
    EXPECT_EQ(classic.marked_, c.pi2.marked);
    EXPECT_EQ(scalable.marked_, c.pi2.marked_l4s);

    // Without ECN all are dropped alike.
    ASSERT_TRUE(bottleneck.pi2({{TCA_PI2_ECN, 0}}));
    for (int i = 0; i < kPackets; ++i) scalable.send(100);
    const Statistics d = bottleneck.statistics();
    EXPECT_EQ(d.pi2.marked_l4s, c.pi2.marked_l4s);
    expect_share(d.pi2.dropped - c.pi2.dropped, p * p);
  });
}

TEST_F(Pi2, DropsMarkedTrafficThatDoesNotAnswer) {
  run([](Stack& stack, Bottleneck& bottleneck) {
    ASSERT_TRUE(bottleneck.pi2({}));
    for (const int ecn : {1, 2}) {
      Datagrams traffic(stack, ecn);
      const auto before = bottleneck.statistics();
      traffic.send_for(20s, 1.3 * kRate);
      const Statistics after = bottleneck.statistics();
      EXPECT_GT(after.pi2.dropped, before.pi2.dropped);
      EXPECT_GT(after.pi2.marked + after.pi2.marked_l4s, before.pi2.marked + before.pi2.marked_l4s);
      EXPECT_LT(after.pi2.delay_us, 60'000u);
      EXPECT_EQ(after.pi2.overlimit, 0u);
      // Let it settle: both at rest.
      for (int i = 0; i < 100; ++i) {
        stack.sleep_for(100ms);
        traffic.receive();
      }
      EXPECT_EQ(bottleneck.statistics().pi2.prob, 0u);
    }
  });
}

TEST_F(Pi2, KeepsTheDelayOfTcpAtTheTarget) {
  run([](Stack& stack, Bottleneck& bottleneck) {
    // The sender stands behind a router: TCP lets no queue grow in its own devices (tcp_tsq_*).
    ASSERT_TRUE(stack.netns_add("client"));
    auto client = Rtnl::open(stack, "client"), left = Rtnl::open(stack, "left"),
         right = Rtnl::open(stack, "right");
    ASSERT_TRUE(client && left && right);
    ASSERT_TRUE(client->veth_add(
        "eth0", {.peer_netns = "left", .peer = "eth1", .segmentation_offload = false}));
    ASSERT_TRUE(client->addr_add("eth0", IpPrefix::parse("10.2.0.2/24").value()));
    ASSERT_TRUE(left->addr_add("eth1", IpPrefix::parse("10.2.0.1/24").value()));
    ASSERT_TRUE(client->link_up("eth0") && left->link_up("eth1"));
    ASSERT_TRUE(client->route_add({}, IpPrefix::parse("10.2.0.1").value()));
    ASSERT_TRUE(right->route_add(IpPrefix::parse("10.2.0.0/24").value(),
                                 IpPrefix::parse("10.1.0.1").value()));
    Bottleneck::set(stack, "left", "net.ipv4.ip_forward", "1");
    for (const bool ecn : {false, true}) {
      for (const char* name : {"client", "right"})
        Bottleneck::set(stack, name, "net.ipv4.tcp_ecn", ecn ? "1" : "0");
      ASSERT_TRUE(bottleneck.pi2({}));
      auto flow = Flow::start(stack, {.route = {.client = "client",
                                                .server = "right",
                                                .address = IpPrefix::parse("10.1.0.2").value(),
                                                .control = "reno"},
                                      .duration = 25s});
      ASSERT_TRUE(flow) << flow.error().message();
      stack.sleep_for(5s);  // slow start overloads it
      const Statistics before = bottleneck.statistics();
      double delay = 0;
      for (int i = 0; i < 1000; ++i) {
        stack.sleep_for(20ms);
        delay += bottleneck.statistics().pi2.delay_us / 1000.0;
      }
      EXPECT_NEAR(delay, 15'000, 5'000);
      EXPECT_TRUE((*flow)->wait(stack.now() + 60s));
      const FlowReport report = (*flow)->report();
      EXPECT_EQ(report.state, FlowState::kDone) << report.error;
      EXPECT_GT(report.rate, 0.8 * kRate);
      const Statistics after = bottleneck.statistics();
      if (ecn) {
        EXPECT_GT(after.pi2.marked, before.pi2.marked);
        EXPECT_EQ(after.pi2.dropped, before.pi2.dropped);
      } else {
        EXPECT_GT(after.pi2.dropped, before.pi2.dropped);
        EXPECT_EQ(after.pi2.marked, before.pi2.marked);
      }
      EXPECT_EQ(after.pi2.packets, after.sent + after.pi2.dropped + after.pi2.overlimit);
    }
  });
}

TEST_F(Pi2, TakesAndShowsItsOptions) {
  run([](Stack& stack, Bottleneck& bottleneck) {
    ASSERT_TRUE(bottleneck.pi2({}));
    std::map<int, std::uint32_t> expected{{TCA_PI2_LIMIT, 1000},     {TCA_PI2_TARGET, 15'000},
                                          {TCA_PI2_TUPDATE, 16'000}, {TCA_PI2_ALPHA, 160},
                                          {TCA_PI2_BETA, 3200},      {TCA_PI2_ECN, 1}};
    EXPECT_EQ(bottleneck.statistics().options, expected);
    for (const auto& [type, value] : Options{{TCA_PI2_LIMIT, 0},
                                             {TCA_PI2_TARGET, 0},
                                             {TCA_PI2_TARGET, 1'000'001},
                                             {TCA_PI2_TUPDATE, 999},
                                             {TCA_PI2_ALPHA, 100'001},
                                             {TCA_PI2_BETA, 100'001},
                                             {TCA_PI2_ECN, 2}}) {
      const auto refused = bottleneck.pi2({{TCA_PI2_LIMIT, 7}, {type, value}});
      ASSERT_FALSE(refused) << type << " = " << value;
      EXPECT_EQ(refused.error().errno_value(), ERANGE) << refused.error().message();
      EXPECT_EQ(bottleneck.statistics().options, expected) << "nothing half-applied";
    }
    // A smaller limit throws out what has no room.
    Datagrams traffic(stack, 0);
    for (int i = 0; i < 100; ++i) traffic.send(1000);
    EXPECT_GT(bottleneck.statistics().waiting, 90u);
    ASSERT_TRUE(bottleneck.pi2({{TCA_PI2_LIMIT, 10}, {TCA_PI2_ECN, 0}}));
    expected[TCA_PI2_LIMIT] = 10;
    expected[TCA_PI2_ECN] = 0;
    EXPECT_EQ(bottleneck.statistics().options, expected);
    EXPECT_EQ(bottleneck.statistics().waiting, 10u);
    traffic.send(1000);
    EXPECT_EQ(bottleneck.statistics().waiting, 10u);
    expect_adds_up(stack, bottleneck, traffic);
  });
}

TEST_F(Pi2, GoesWhenItIsNoLongerUsed) {
  run([](Stack& stack, Bottleneck& bottleneck) {
    ASSERT_TRUE(bottleneck.pi2({}));
    Datagrams traffic(stack, 0);
    traffic.send_for(1s, 2 * kRate);
    const auto refused = stack.unload("sch_pi2");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), EBUSY);
    ASSERT_TRUE(bottleneck.remove());  // with packets in it
    // Qdiscs are freed by RCU; the module goes with them.
    for (int i = 0; i < 100 && !stack.unload("sch_pi2"); ++i) stack.sleep_for(10ms);
    const auto gone = stack.modules();
    ASSERT_TRUE(gone);
    for (const auto& module : *gone) EXPECT_NE(module.name, "sch_pi2");
    stack.sleep_for(1s);  // no timer is left that would run code which is gone
  });
}

TEST_F(Pi2, IsRenewedWithItsQueueItsTimerAndItsNumbers) {
  const std::vector<Edit> marks = {
      {"sch_pi2.c", "q->stats.packets++;", "q->stats.packets++;\n\tq->stats.marked_l4s++;"},
      {"sch_pi2.c", "q->stats.updates++;", "q->stats.updates += 1000;"},
      {"sch_pi2.c", "READ_ONCE(q->target_us))", "READ_ONCE(q->target_us) + 1)"}};
  const auto marked = edited("sch_pi2", marks);
  // Its timer, which is pending, has another place.
  auto larger_edits = marks;
  larger_edits.push_back({"sch_pi2.c", "u64 delay_ns; /*", "u64 extra, delay_ns; /*"});
  const auto larger = edited("sch_pi2", larger_edits);
  with("sch_pi2", [&](Stack& stack, const std::string& plain) {
    ASSERT_TRUE(stack.load(plain));
    auto bottleneck = Bottleneck::make(stack);
    ASSERT_TRUE(bottleneck);
    // Without a controller nothing is dropped: each packet that was sent must arrive.
    ASSERT_TRUE(bottleneck->pi2({{TCA_PI2_ALPHA, 0}, {TCA_PI2_BETA, 0}, {TCA_PI2_LIMIT, 10'000}}));
    Datagrams traffic(stack, 0);
    std::uint32_t new_code_saw = 0;
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 50; ++i) traffic.send(1000);
      const Statistics before = bottleneck->statistics();
      ASSERT_GT(before.waiting, 20u);
      const bool now_marked = round % 3 != 2;
      if (round % 3 == 1) {
        expect_rearranged(stack, larger, "struct pi2_sched: 1 qdisc rearranged in place");
      } else {
        expect_renewed(stack, now_marked ? marked : plain);
      }
      const Statistics after = bottleneck->statistics();
      EXPECT_EQ(after.pi2.packets, before.pi2.packets);
      EXPECT_EQ(after.sent + after.waiting, before.sent + before.waiting);
      EXPECT_EQ(after.options.at(TCA_PI2_TARGET), now_marked ? 15'001u : 15'000u);
      EXPECT_EQ(after.options.at(TCA_PI2_LIMIT), 10'000u);

      for (int i = 0; i < 10; ++i) traffic.send(1000);
      if (now_marked) new_code_saw += 10;
      EXPECT_EQ(bottleneck->statistics().pi2.marked_l4s, new_code_saw);
      stack.sleep_for(100ms);  // some 6 updates
      const auto updates = bottleneck->statistics().pi2.updates - after.pi2.updates;
      EXPECT_TRUE(now_marked ? updates >= 3000 && updates % 1000 <= 1
                             : updates >= 3 && updates < 30)
          << updates;
      if (HasFailure()) return;
      if (now_marked) new_code_saw += 50;  // of the next round
    }
    bottleneck->drain();
    traffic.receive();
    EXPECT_EQ(traffic.received_, traffic.sent_);
    EXPECT_EQ(traffic.sent_, 600u);
    EXPECT_EQ(bottleneck->statistics().pi2.packets, 600u);
    expect_renewed(stack, marked);
    ASSERT_TRUE(bottleneck->remove());
    expect_unloads(stack, "sch_pi2");
  });
}

TEST_F(Pi2, EndsAndIsMadeAnewWithItsOptionsAndNothingElseWhenItIsReset) {
  const auto marked = edited("sch_pi2", {{"sch_pi2.c", "q->stats.packets++;", "q->stats.packets += 1000;"}});
  with("sch_pi2", [&](Stack& stack, const std::string& plain) {
    ASSERT_TRUE(stack.load(plain));
    auto bottleneck = Bottleneck::make(stack);
    ASSERT_TRUE(bottleneck);
    ASSERT_TRUE(bottleneck->pi2({{TCA_PI2_ALPHA, 0}, {TCA_PI2_BETA, 0}, {TCA_PI2_LIMIT, 777}}));
    Datagrams traffic(stack, 0);
    for (int i = 0; i < 50; ++i) traffic.send(1000);
    const Statistics before = bottleneck->statistics();
    ASSERT_GT(before.waiting, 20u);

    const auto report = stack.swap(marked, {.state = StatePolicy::kReset});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kReloaded);
    ASSERT_EQ(report->reset.size(), 1u);
    EXPECT_EQ(report->reset[0].find("qdisc pi2 "), 0u) << report->reset[0];
    EXPECT_NE(report->reset[0].find(fmt::format(": of eth0, with {} packets in it; it is made anew", before.waiting)),
              std::string::npos)
        << report->reset[0];
    const Statistics after = bottleneck->statistics();
    EXPECT_EQ(after.options, before.options) << "what was set, and what was not";
    EXPECT_EQ(after.waiting, 0u);
    EXPECT_EQ(after.sent, 0u) << "another qdisc, at the same place";

    // What had left it, and what comes now, arrives; the bucket above it and the delay at the other end are as before.
    for (int i = 0; i < 50; ++i) traffic.send(1000);
    EXPECT_EQ(bottleneck->statistics().pi2.packets, 50'000u) << "by the new code";
    bottleneck->drain();
    traffic.receive();
    EXPECT_EQ(traffic.received_, traffic.sent_ - before.waiting);

    const auto back = stack.swap(plain, {.state = StatePolicy::kReset});
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_EQ(bottleneck->statistics().options, before.options);
    ASSERT_TRUE(bottleneck->remove());
    expect_unloads(stack, "sch_pi2");
  });
}

TEST_F(Pi2, IsMadeAnewInTheOldCodeWhenTheModuleCannotBeUnloadedAfterAReset) {
  // It has a reference on itself, as a module that forgets one has.
  const auto stuck = edited("sch_pi2", {{"sch_pi2.c", "return register_qdisc(", "__module_get(THIS_MODULE);\n\treturn register_qdisc("}});
  const auto marked = edited("sch_pi2", {{"sch_pi2.c", "q->stats.packets++;", "q->stats.packets += 1000;"}});
  with("sch_pi2", [&](Stack& stack, const std::string&) {
    ASSERT_TRUE(stack.load(stuck));
    auto bottleneck = Bottleneck::make(stack);
    ASSERT_TRUE(bottleneck);
    ASSERT_TRUE(bottleneck->pi2({{TCA_PI2_ALPHA, 0}, {TCA_PI2_BETA, 0}, {TCA_PI2_LIMIT, 777}}));
    Datagrams traffic(stack, 0);
    for (int i = 0; i < 50; ++i) traffic.send(1000);
    const Statistics before = bottleneck->statistics();
    ASSERT_GT(before.waiting, 20u);

    const auto report = stack.swap(marked, {.state = StatePolicy::kReset});
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().errno_value(), EBUSY);
    const auto said = report.error().message();
    EXPECT_NE(said.find("generation 1 serves on"), said.npos) << said;
    EXPECT_NE(said.find(fmt::format("of eth0, with {} packets in it", before.waiting)), said.npos) << said;

    const Statistics after = bottleneck->statistics();
    EXPECT_EQ(after.options, before.options);
    EXPECT_EQ(after.waiting, 0u);
    for (int i = 0; i < 50; ++i) traffic.send(1000);
    EXPECT_EQ(bottleneck->statistics().pi2.packets, 50u) << "by the old code";
    bottleneck->drain();
    traffic.receive();
    EXPECT_EQ(traffic.received_, traffic.sent_ - before.waiting);
    EXPECT_EQ(stack.modules().value().at(0).generation, 1u);
    ASSERT_TRUE(bottleneck->remove());
  });
}

TEST_F(Pi2, IsNotResetWhileItIsTheDefault) {
  const auto marked = edited("sch_pi2", {{"sch_pi2.c", "q->stats.packets++;", "q->stats.packets += 1000;"}});
  with("sch_pi2", [&](Stack& stack, const std::string& plain) {
    ASSERT_TRUE(stack.load(plain));
    ASSERT_TRUE(stack.sysctl("net.core.default_qdisc", "pi2"));
    auto bottleneck = Bottleneck::make(stack);
    ASSERT_TRUE(bottleneck);
    const auto report = stack.swap(marked, {.state = StatePolicy::kReset});
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().errno_value(), EBUSY);
    const auto said = report.error().message();
    EXPECT_NE(said.find("generation 1 serves on"), said.npos) << said;
    EXPECT_NE(said.find("net.core.default_qdisc names it"), said.npos) << said;
    Datagrams traffic(stack, 0);
    for (int i = 0; i < 10; ++i) traffic.send(1000);
    stack.sleep_for(1s);
    traffic.receive();
    EXPECT_EQ(traffic.received_, traffic.sent_);
  });
}

TEST_F(Pi2, IsNotResetWhileADeviceHasItByDefault) {
  const auto wire = edited("delayline", {});  // a device with a queue
  const auto marked = edited("sch_pi2", {{"sch_pi2.c", "q->stats.packets++;", "q->stats.packets += 1000;"}});
  with("sch_pi2", [&](Stack& stack, const std::string& plain) {
    ASSERT_TRUE(stack.load(plain));
    ASSERT_TRUE(stack.load(wire));
    auto rtnl = Rtnl::open(stack, "");
    auto netlink = Netlink::open(stack, "", NETLINK_ROUTE);
    ASSERT_TRUE(rtnl && netlink);
    NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    message.extra<ifinfomsg>();
    mnl_attr_put_strz(message.header(), IFLA_IFNAME, "wire0");
    nlattr* info = mnl_attr_nest_start(message.header(), IFLA_LINKINFO);
    mnl_attr_put_strz(message.header(), IFLA_INFO_KIND, "delayline");
    mnl_attr_nest_end(message.header(), info);
    ASSERT_TRUE(netlink->request(message, "add an open end"));
    const auto before = stack.sysctl("net.core.default_qdisc");
    ASSERT_TRUE(before);
    ASSERT_TRUE(stack.sysctl("net.core.default_qdisc", "pi2"));
    ASSERT_TRUE(rtnl->link_up("wire0"));
    ASSERT_TRUE(stack.sysctl("net.core.default_qdisc", *before));

    const auto report = stack.swap(marked, {.state = StatePolicy::kReset});
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().errno_value(), EBUSY);
    const auto said = report.error().message();
    EXPECT_NE(said.find("of wire0 is there by default"), said.npos) << said;
    EXPECT_NE(said.find("generation 1 serves on"), said.npos) << said;
    ASSERT_TRUE(rtnl->link_del("wire0"));
    const auto reset = stack.swap(marked, {.state = StatePolicy::kReset});
    EXPECT_TRUE(reset) << reset.error().message();
  });
}

}  // namespace
}  // namespace lkm
