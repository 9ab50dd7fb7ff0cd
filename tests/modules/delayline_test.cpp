// SPDX-License-Identifier: GPL-2.0
//
// The link type of modules/delayline, under TCP, and packet by packet.
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "modules/delayline/delayline_user.h"
#include "tests/modules/module_test.hpp"
#include "tests/protocols/stack_test.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

struct Wire {
  std::chrono::nanoseconds delay{};
  double loss = 0;
  std::uint32_t limit = 10'000;
};

/// The end in a netns: "dl" in "left". The kernel looks for the name in the netns of the request,
/// too, so each has its own.
std::string end_of(const std::string& netns) { return "d" + netns.substr(0, 1); }

/// Adds the end in `netns`, joined with device `other` of `link_netns` when that is not 0.
Result<void> add_end(Stack& stack, const std::string& netns, const Wire& wire, unsigned other = 0,
                     const std::string& link_netns = "") {
  LKM_TRY(Netlink netlink, Netlink::open(stack, other != 0 ? link_netns : netns, NETLINK_ROUTE));
  LKM_TRY(const int fd, stack.netns_fd(netns));
  const StackFd target(stack, fd);
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.extra<ifinfomsg>();
  nlmsghdr* header = message.header();
  mnl_attr_put_strz(header, IFLA_IFNAME, end_of(netns).c_str());
  mnl_attr_put_u32(header, IFLA_NET_NS_FD, static_cast<std::uint32_t>(target.get()));
  if (other != 0) mnl_attr_put_u32(header, IFLA_LINK, other);
  nlattr* info = mnl_attr_nest_start(header, IFLA_LINKINFO);
  mnl_attr_put_strz(header, IFLA_INFO_KIND, "delayline");
  nlattr* data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
  mnl_attr_put_u64(header, IFLA_DELAYLINE_DELAY, static_cast<std::uint64_t>(wire.delay.count()));
  mnl_attr_put_u32(header, IFLA_DELAYLINE_LOSS,
                   static_cast<std::uint32_t>(std::llround(wire.loss * UINT32_MAX)));
  mnl_attr_put_u32(header, IFLA_DELAYLINE_LIMIT, wire.limit);
  mnl_attr_nest_end(header, data);
  mnl_attr_nest_end(header, info);
  return netlink.request(message, "add delayline to '" + netns + "'");
}

/// Gives the end in `netns` another delay.
Result<void> set_delay(Stack& stack, const std::string& netns, std::chrono::nanoseconds delay) {
  LKM_TRY(Netlink netlink, Netlink::open(stack, netns, NETLINK_ROUTE));
  NetlinkMessage message(RTM_NEWLINK);
  message.extra<ifinfomsg>();
  nlmsghdr* header = message.header();
  mnl_attr_put_strz(header, IFLA_IFNAME, end_of(netns).c_str());
  nlattr* info = mnl_attr_nest_start(header, IFLA_LINKINFO);
  mnl_attr_put_strz(header, IFLA_INFO_KIND, "delayline");
  nlattr* data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
  mnl_attr_put_u64(header, IFLA_DELAYLINE_DELAY, static_cast<std::uint64_t>(delay.count()));
  mnl_attr_nest_end(header, data);
  mnl_attr_nest_end(header, info);
  return netlink.request(message, "change delayline");
}

/// An end as rtnetlink and ethtool show it.
struct End {
  rtnl_link_stats64 stats{};
  std::map<std::string, std::uint64_t> more;
  bool carrier = false;
  std::uint32_t link = 0;
};

End look(Stack& stack, const std::string& netns) {
  End end;
  auto netlink = Netlink::open(stack, netns, NETLINK_ROUTE);
  EXPECT_TRUE(netlink);
  NetlinkMessage message(RTM_GETLINK);
  message.extra<ifinfomsg>();
  mnl_attr_put_strz(message.header(), IFLA_IFNAME, end_of(netns).c_str());
  const auto asked = netlink->request(message, "look", [&](const nlmsghdr* answer) {
    for_each_attribute(answer, sizeof(ifinfomsg), [&](const nlattr* one) {
      if (mnl_attr_get_type(one) == IFLA_STATS64)
        std::memcpy(&end.stats, mnl_attr_get_payload(one), sizeof end.stats);
      if (mnl_attr_get_type(one) == IFLA_CARRIER) end.carrier = mnl_attr_get_u8(one) != 0;
      if (mnl_attr_get_type(one) == IFLA_LINK) end.link = mnl_attr_get_u32(one);
    });
  });
  EXPECT_TRUE(asked) << asked.error().message();

  const auto socket = socket_in(stack, netns, AF_INET, SOCK_DGRAM);
  EXPECT_TRUE(socket);
  const auto ethtool = [&](void* data) {
    ifreq request{};
    std::strcpy(request.ifr_name, end_of(netns).c_str());
    request.ifr_data = static_cast<char*>(data);
    EXPECT_EQ(socket->call(SYS_ioctl, SIOCETHTOOL, &request), 0);
  };
  constexpr unsigned kCount = 5;
  alignas(8) char strings[sizeof(ethtool_gstrings) + kCount * ETH_GSTRING_LEN]{};
  const ethtool_gstrings ask{.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS, .len = kCount};
  std::memcpy(strings, &ask, sizeof ask);
  ethtool(strings);
  alignas(8) char values[sizeof(ethtool_stats) + kCount * sizeof(std::uint64_t)]{};
  const ethtool_stats stats{.cmd = ETHTOOL_GSTATS, .n_stats = kCount};
  std::memcpy(values, &stats, sizeof stats);
  ethtool(values);
  for (unsigned i = 0; i < kCount; ++i) {
    std::uint64_t value = 0;
    std::memcpy(&value, values + sizeof stats + i * sizeof value, sizeof value);
    end.more[strings + sizeof ask + i * ETH_GSTRING_LEN] = value;
  }
  return end;
}

/// What was sent arrived, or it is known what became of it.
void expect_adds_up(Stack& stack, const std::string& from, const std::string& to) {
  End sender = look(stack, from), receiver = look(stack, to);
  EXPECT_EQ(sender.stats.tx_packets, receiver.stats.rx_packets + sender.more["sent_lost"] +
                                         receiver.more["under_way"] + receiver.more["cut_off"]);
  if (sender.more["sent_lost"] + receiver.more["under_way"] + receiver.more["cut_off"] == 0) {
    EXPECT_EQ(sender.stats.tx_bytes, receiver.stats.rx_bytes);
  }
  EXPECT_EQ(sender.stats.tx_dropped, sender.more["sent_overrun"] + sender.more["sent_unplugged"]);
}

class Delayline : public ModuleTest {
 protected:
  /// With "left" and "right", joined by one.
  void run(const Wire& wire, const std::function<void(Stack&)>& body) {
    with("delayline", [&](Stack& stack, const std::string& plugin) {
      const auto module = stack.load(plugin);
      ASSERT_TRUE(module) << module.error().message();
      join(stack, wire);
      if (!HasFatalFailure()) body(stack);
    });
  }
  static void join(Stack& stack, const Wire& wire) {
    for (const char* name : {"left", "right"}) ASSERT_TRUE(stack.netns_add(name));
    const auto first = add_end(stack, "left", wire);
    ASSERT_TRUE(first) << first.error().message();
    auto left = Rtnl::open(stack, "left"), right = Rtnl::open(stack, "right");
    ASSERT_TRUE(left && right);
    const auto second = add_end(stack, "right", wire, left->link_index("dl").value(), "left");
    ASSERT_TRUE(second) << second.error().message();
    for (const char* address : {"10.3.0.1/24", "fd03::1/64"})
      ASSERT_TRUE(left->addr_add("dl", IpPrefix::parse(address).value()));
    for (const char* address : {"10.3.0.2/24", "fd03::2/64"})
      ASSERT_TRUE(right->addr_add("dr", IpPrefix::parse(address).value()));
    EXPECT_FALSE(look(stack, "left").carrier);
    ASSERT_TRUE(left->link_up("dl"));
    EXPECT_FALSE(look(stack, "left").carrier) << "the other end is down";
    ASSERT_TRUE(right->link_up("dr"));
    EXPECT_TRUE(look(stack, "left").carrier && look(stack, "right").carrier);
    EXPECT_EQ(look(stack, "right").link, left->link_index("dl").value());
    stack.sleep_for(3s);  // IPv6 checks its addresses
  }
  static Route route(IpFamily family = IpFamily::kV4) {
    return {.client = "left", .server = "right", .family = family};
  }
};

/// A sender in "left" and a receiver in "right".
struct Datagrams {
  explicit Datagrams(Stack& stack)
      : sender(std::move(socket_in(stack, "left", AF_INET, SOCK_DGRAM).value())),
        receiver(std::move(socket_in(stack, "right", AF_INET, SOCK_DGRAM).value())),
        dest(bind_any(receiver, "10.3.0.2").value()) {
    const int large = 16 << 20;
    EXPECT_EQ(receiver.set_option(SOL_SOCKET, SO_RCVBUFFORCE, large), 0);
    EXPECT_EQ(sender.set_option(SOL_SOCKET, SO_SNDBUFFORCE, large), 0);
  }
  void send(unsigned number) {
    EXPECT_EQ(sender.call(SYS_sendto, &number, sizeof number, 0, dest.get(), dest.length),
              long(sizeof number));
  }
  /// The next number, or -errno.
  long receive(int flags = 0) {
    unsigned number = 0;
    const long got = receiver.call(SYS_recvfrom, &number, sizeof number, flags, nullptr, nullptr);
    return got < 0 ? got : long(number);
  }
  unsigned receive_all() {
    unsigned count = 0;
    while (receive(MSG_DONTWAIT) >= 0) ++count;
    return count;
  }
  StackFd sender, receiver;
  SocketAddress dest;
};

TEST_F(Delayline, CarriesTcpWithItsDelay) {
  run({.delay = 10ms}, [](Stack& stack) {
    for (const IpFamily family : {IpFamily::kV4, IpFamily::kV6}) {
      expect_intact(stack, {.route = route(family), .bytes = 8 << 20});
      const FlowReport report = expect_intact(
          stack, {.kind = FlowKind::kRequests, .route = route(family), .requests = 50});
      EXPECT_GE(report.gaps.p50, 20ms);
      EXPECT_LT(report.gaps.p50, 21ms);
      ASSERT_TRUE(report.tcp);
      EXPECT_GE(report.tcp->min_rtt, 20ms);
      EXPECT_EQ(report.tcp->retransmits, 0u);
    }
    stack.sleep_for(1s);
    expect_adds_up(stack, "left", "right");
    expect_adds_up(stack, "right", "left");
    const End left = look(stack, "left");
    EXPECT_GT(left.stats.tx_bytes, 2u * (8 << 20));
    EXPECT_GT(left.stats.rx_packets, 200u);  // ACKs, few, because GRO puts segments together
    EXPECT_EQ(left.stats.tx_dropped + left.stats.rx_dropped, 0u);
  });
}

TEST_F(Delayline, DelaysEveryPacketByTheSameTimeInOrder) {
  run({.delay = 30ms}, [](Stack& stack) {
    Datagrams traffic(stack);
    traffic.send(0);
    EXPECT_EQ(traffic.receive(), 0);
    std::vector<StackTime> sent(1000);
    auto sender = stack.spawn("sender", [&] {
      for (unsigned i = 0; i < sent.size(); ++i) {
        sent[i] = stack.now();
        traffic.send(i);
        if (i % 3 == 0) stack.sleep_for(1ms);
      }
    });
    ASSERT_TRUE(sender);
    for (unsigned i = 0; i < sent.size(); ++i) {
      ASSERT_EQ(traffic.receive(), long(i));
      EXPECT_GE(stack.now() - sent[i], 30ms);
      EXPECT_LT(stack.now() - sent[i], 30ms + 100us);
    }
    sender->join();

    // A shorter delay overtakes nothing.
    traffic.send(1);
    ASSERT_TRUE(set_delay(stack, "left", 1ms));
    const StackTime start = stack.now();
    traffic.send(2);
    EXPECT_EQ(traffic.receive(), 1);
    EXPECT_EQ(traffic.receive(), 2);
    EXPECT_GE(stack.now() - start, 29ms);
    traffic.send(3);
    EXPECT_EQ(traffic.receive(), 3);
    EXPECT_LT(stack.now() - start, 40ms);
  });
}

TEST_F(Delayline, LosesItsShareAndTcpMendsIt) {
  run({.delay = 5ms, .loss = 0.02}, [](Stack& stack) {
    // ARP may be lost, too.
    Datagrams traffic(stack);
    while (traffic.receive(MSG_DONTWAIT) < 0) {
      traffic.send(0);
      stack.sleep_for(1s);
    }
    End before = look(stack, "left");
    constexpr unsigned kPackets = 20'000;
    unsigned received = 0;
    for (unsigned i = 0; i < kPackets; ++i) {
      traffic.send(i);
      if (i % 100 != 0) continue;
      stack.sleep_for(1ms);
      received += traffic.receive_all();
    }
    stack.sleep_for(100ms);
    received += traffic.receive_all();
    End after = look(stack, "left");
    const auto lost = after.more["sent_lost"] - before.more["sent_lost"];
    EXPECT_EQ(received, kPackets - lost);
    EXPECT_NEAR(double(lost), kPackets * 0.02, 5 * std::sqrt(kPackets * 0.02));
    const FlowReport report = expect_intact(stack, {.route = route(), .bytes = 1 << 20});
    ASSERT_TRUE(report.tcp);
    EXPECT_GT(report.tcp->retransmits, 0u);
    stack.sleep_for(1s);
    expect_adds_up(stack, "left", "right");
    expect_adds_up(stack, "right", "left");
  });
}

TEST_F(Delayline, DropsWhatItCannotHold) {
  run({.delay = 50ms, .limit = 10}, [](Stack& stack) {
    Datagrams traffic(stack);
    traffic.send(0);
    EXPECT_EQ(traffic.receive(), 0);
    stack.sleep_for(1s);
    for (unsigned i = 0; i < 25; ++i) traffic.send(i);
    EXPECT_EQ(look(stack, "right").more["under_way"], 10u);
    expect_adds_up(stack, "left", "right");
    stack.sleep_for(100ms);
    EXPECT_EQ(traffic.receive_all(), 10u);
    EXPECT_EQ(look(stack, "left").more["sent_overrun"], 15u);
    EXPECT_EQ(look(stack, "right").more["under_way"], 0u);
    expect_adds_up(stack, "left", "right");
  });
}

TEST_F(Delayline, CutsOffWhatIsUnderWayWhenAnEndGoesDown) {
  run({.delay = 50ms}, [](Stack& stack) {
    Datagrams traffic(stack);
    traffic.send(0);
    EXPECT_EQ(traffic.receive(), 0);
    stack.sleep_for(1s);
    for (unsigned i = 0; i < 20; ++i) traffic.send(i);
    auto right = Rtnl::open(stack, "right");
    ASSERT_TRUE(right);
    ASSERT_TRUE(right->link_down("dr"));
    EXPECT_FALSE(look(stack, "left").carrier);
    EXPECT_EQ(look(stack, "right").more["cut_off"], 20u);
    EXPECT_EQ(look(stack, "right").stats.rx_dropped, 20u);
    expect_adds_up(stack, "left", "right");
    ASSERT_TRUE(right->link_up("dr"));
    EXPECT_TRUE(look(stack, "left").carrier);
    stack.sleep_for(1s);
    EXPECT_EQ(traffic.receive_all(), 0u);
    traffic.send(7);
    EXPECT_EQ(traffic.receive(), 7);
    stack.sleep_for(1s);
    expect_adds_up(stack, "left", "right");
  });
}

TEST_F(Delayline, IsOpenAgainWhenTheOtherEndGoes) {
  run({.delay = 1ms}, [](Stack& stack) {
    auto left = Rtnl::open(stack, "left"), right = Rtnl::open(stack, "right");
    ASSERT_TRUE(left && right);
    const unsigned index = left->link_index("dl").value();
    // What cannot be joined.
    ASSERT_TRUE(stack.netns_add("third"));
    auto refused = add_end(stack, "third", {}, index, "left");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), EBUSY) << refused.error().message();
    refused = add_end(stack, "third", {}, left->link_index("lo").value(), "left");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), EINVAL) << refused.error().message();
    refused = add_end(stack, "third", {}, 12345, "left");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), ENODEV) << refused.error().message();
    refused = add_end(stack, "third", {.limit = 0});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), ERANGE) << refused.error().message();

    Datagrams traffic(stack);
    for (unsigned i = 0; i < 50; ++i) traffic.send(i);
    ASSERT_TRUE(right->link_del("dr"));  // with packets under way
    End end = look(stack, "left");
    EXPECT_FALSE(end.carrier);
    EXPECT_EQ(end.link, 0u);

    // Joined anew, with another netns.
    const auto again = add_end(stack, "third", {.delay = 2ms}, index, "left");
    ASSERT_TRUE(again) << again.error().message();
    auto third = Rtnl::open(stack, "third");
    ASSERT_TRUE(third);
    ASSERT_TRUE(third->addr_add("dt", IpPrefix::parse("10.3.0.3/24").value()));
    ASSERT_TRUE(third->link_up("dt"));
    EXPECT_TRUE(look(stack, "left").carrier);
    expect_intact(stack, {.route = {.client = "left", .server = "third"}, .bytes = 1 << 20});

    // And the netns takes its end with it.
    third = fail(0, "closed");
    ASSERT_TRUE(stack.netns_del("third"));
    const StackTime deadline = stack.now() + 10s;
    while (look(stack, "left").carrier && stack.now() < deadline) stack.sleep_for(10ms);
    EXPECT_FALSE(look(stack, "left").carrier);
  });
}

TEST_F(Delayline, UnloadsUnderTraffic) {
  run({.delay = 5ms}, [](Stack& stack) {
    auto flow = Flow::start(stack, {.route = route()});
    ASSERT_TRUE(flow) << flow.error().message();
    stack.sleep_for(1s);
    const auto unloaded = stack.unload("delayline");
    ASSERT_TRUE(unloaded) << unloaded.error().message();
    for (const char* netns : {"left", "right"}) {
      auto net = Rtnl::open(stack, netns);
      ASSERT_TRUE(net);
      const auto index = net->link_index(end_of(netns));
      ASSERT_FALSE(index);
      EXPECT_EQ(index.error().errno_value(), ENODEV);
    }
    stack.sleep_for(1s);
    (*flow)->abort();
    EXPECT_TRUE((*flow)->wait(stack.now() + 10s));
  });
}

TEST_F(Delayline, IsRenewedWithTheFramesOnTheWire) {
  const auto other = edited(
      "delayline", {{"delayline.c", "skb->len + ETH_HLEN);", "skb->len + ETH_HLEN + 1000000);"},
                    {"delayline.c", "\"under_way\"", "\"on_the_wire\""}});
  const auto rearranged = edited(
      "delayline",
      {{"delayline.c", "skb->len + ETH_HLEN);", "skb->len + ETH_HLEN + 1000000);"},
       {"delayline.c", "\"under_way\"", "\"on_the_wire\""},
       {"delayline.c", "u32 loss;\n\tu32 limit;", "u64 extra[3];\n\tu32 loss;\n\tu32 limit;"},
       // Two of which are members.
       {"delayline.c", "\tu64_stats_t bytes;\n", "\tu64 extra[2];\n\tu64_stats_t bytes;\n"}});
  const auto larger =
      edited("delayline", {{"delayline.c", "u32 loss;\n\tu32 limit;", "u32 loss[2];\n\tu32 limit;"},
                           {"delayline.c", "READ_ONCE(from->loss)", "READ_ONCE(from->loss[0])"},
                           {"delayline.c", "WRITE_ONCE(end->loss,", "WRITE_ONCE(end->loss[0],"},
                           {"delayline.c", "READ_ONCE(end->loss)", "READ_ONCE(end->loss[0])"}});
  with(
      "delayline",
      [&](Stack& stack, const std::string& plain) {
        ASSERT_TRUE(stack.load(plain));
        std::chrono::nanoseconds delay = 400ms;
        join(stack, {.delay = delay});
        Datagrams traffic(stack);
        FlowSpec spec{.route = route()};
        auto flow = Flow::start(stack, spec);
        ASSERT_TRUE(flow) << flow.error().message();
        unsigned number = 0;
        const auto swap_to = [&](int round) {
          if (round % 4 == 3) {
            expect_rearranged(stack, rearranged, "struct delayline: 2 devices rearranged in place");
          } else {
            expect_renewed(stack, round % 2 != 0 ? other : plain);
          }
        };
        for (int round = 1; round <= 6;) {
          const bool changed = round % 2 != 0;
          const auto receive_all = [&] {
            for (int i = 0; i < 50; ++i) ASSERT_EQ(traffic.receive(), long(number++));
          };
          const StackTime sent = stack.now();
          for (int i = 0; i < 50; ++i) traffic.send(number + i);
          End old_way = look(stack, "right");
          swap_to(round);
          auto before = look(stack, "right");
          if (stack.now() - sent >= delay) {
            // They may have come before the new code did, as swaps take long on a busy machine: once more, on a
            // longer wire.
            receive_all();
            delay *= 2;
            ASSERT_LT(delay, 10s);
            ASSERT_TRUE(set_delay(stack, "left", delay));
            swap_to(round - 1);
            if (HasFailure()) return;
            continue;
          }
          ++round;
          EXPECT_GE(old_way.more[changed ? "under_way" : "on_the_wire"], 50u);
          EXPECT_GE(before.more[changed ? "on_the_wire" : "under_way"], 50u);
          receive_all();
          const auto after = look(stack, "right");
          const auto each = (after.stats.rx_bytes - before.stats.rx_bytes) /
                            (after.stats.rx_packets - before.stats.rx_packets);
          EXPECT_EQ(each > 1'000'000, changed) << each;
          if (HasFailure()) return;
        }
        (*flow)->stop();
        EXPECT_TRUE((*flow)->wait(stack.now() + 20s + 10 * delay));
        const FlowReport report = (*flow)->report();
        EXPECT_EQ(report.state, FlowState::kDone) << report.error;
        EXPECT_EQ(report.bytes_verified, report.bytes_sent);

        // Devices of the old code and of the new one are of one kind: an open end, and another for
        // it.
        ASSERT_TRUE(stack.netns_add("first"));
        ASSERT_TRUE(stack.netns_add("second"));
        ASSERT_TRUE(add_end(stack, "first", {}));
        expect_renewed(stack, other);
        auto first = Rtnl::open(stack, "first");
        ASSERT_TRUE(first);
        const auto joined = add_end(stack, "second", {}, first->link_index("df").value(), "first");
        ASSERT_TRUE(joined) << joined.error().message();
        ASSERT_TRUE(first->link_del("df"));

        // Devices hold no reference on their module: what cannot go on in place would delete them,
        // and that must be asked for.
        const std::string why = "struct delayline: 'loss' is u32[2], was u32";
        expect_refused_in_place(stack, larger, why);
        EXPECT_TRUE(Rtnl::open(stack, "left")->link_index("dl"));
        const auto reloaded = stack.swap(larger, {.state = StatePolicy::kReset});
        ASSERT_TRUE(reloaded) << reloaded.error().message();
        EXPECT_EQ(reloaded->method, SwapMethod::kReloaded);
        for (const char* device : {"device dl", "device dr"})
          EXPECT_EQ(std::ranges::count(reloaded->reset, device), 1) << device;
        EXPECT_FALSE(Rtnl::open(stack, "left")->link_index("dl"));
        expect_unloads(stack, "delayline");
      },
      Clock::kReal);
}

}  // namespace
}  // namespace lkm
