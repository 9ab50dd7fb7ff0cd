// SPDX-License-Identifier: GPL-2.0
//
// The meter of modules/xt_flowmeter, as a hook and as a match in a rule of the table "filter".
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "modules/xt_flowmeter/xt_flowmeter_user.h"
#include "tests/modules/module_test.hpp"
#include "tests/protocols/filter_table.hpp"
#include "tests/protocols/stack_test.hpp"
#include "tests/wait_until.hpp"
#include "toolkit/flow/flow.hpp"
#include "toolkit/net/links.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

struct MeteredFlow {
  unsigned protocol = 0;
  std::string source, dest;
  std::uint64_t packets = 0, bytes = 0, rate = 0;
};

struct Meter {
  unsigned flows = 0;
  std::uint64_t unmetered = 0;
  std::vector<MeteredFlow> list;

  [[nodiscard]] std::optional<MeteredFlow> find(const std::string& source,
                                                const std::string& dest) const {
    const auto found = std::ranges::find_if(
        list, [&](const MeteredFlow& one) { return one.source == source && one.dest == dest; });
    if (found == list.end()) return {};
    return *found;
  }
};

/// Runs `body` on a fiber in the netns.
void in_netns(Stack& stack, const std::string& netns, const std::function<void()>& body) {
  auto fiber = stack.spawn("in-netns", [&] {
    ASSERT_TRUE(stack.netns_enter(netns));
    body();
  });
  ASSERT_TRUE(fiber);
  fiber->join();
}

class Flowmeter : public ModuleTest {
 protected:
  /// With a link between "left" and "right".
  void run(const std::function<void(Stack&)>& body, const std::string& parameters = "") {
    with("xt_flowmeter", [&](Stack& stack, const std::string& plugin) {
      Links links(stack);
      for (const char* netns : {"left", "right"}) {
        ASSERT_TRUE(stack.netns_add(netns));
        in_netns(stack, netns, [&] {
          ASSERT_TRUE(stack.sysctl("net.ipv6.conf.default.router_solicitations", "0"));
        });
      }
      const auto link = links.add({.a = "left", .b = "right", .delay = 1ms});
      ASSERT_TRUE(link) << link.error().message();
      stack.sleep_for(10s);  // what IPv6 says about its new addresses
      // x_tables, which it depends on, comes by itself.
      const auto module = stack.load(plugin, parameters);
      ASSERT_TRUE(module) << module.error().message();
      body(stack);
    });
  }
};

/// As the file says it in the fiber's netns.
Meter read_meter(Stack& stack) {
  Meter out;
  const auto text = stack.read_file("/proc/thread-self/net/flowmeter");
  EXPECT_TRUE(text) << text.error().message();
  std::istringstream in(text.value_or(""));
  std::string word;
  in >> word >> out.flows >> word >> out.unmetered;
  std::getline(in, word);
  std::getline(in, word);
  for (MeteredFlow one; in >> one.protocol >> one.source >> one.dest >> one.packets >> one.bytes >> one.rate;)
    out.list.push_back(one);
  return out;
}

Meter meter(Stack& stack, const std::string& netns) {
  Meter out;
  // A flow may come or go after its number was printed and before the list is: then once more.
  in_netns(stack, netns, [&] {
    wait_until(stack, [&] {
      out = read_meter(stack);
      return out.flows == out.list.size();
    });
  });
  EXPECT_EQ(out.flows, out.list.size());
  return out;
}

/// One sender in "left" and one receiver in "right".
struct Datagrams {
  Datagrams(Stack& stack, const std::string& from, const std::string& to)
      : family(static_cast<int>(IpPrefix::parse(to).value().family)),
        sender(std::move(socket_in(stack, "left", family, SOCK_DGRAM).value())),
        receiver(std::move(socket_in(stack, "right", family, SOCK_DGRAM).value())),
        source(bind_any(sender, from).value()),
        dest(bind_any(receiver, to).value()) {
    const int large = 16 << 20;
    EXPECT_EQ(receiver.set_option(SOL_SOCKET, SO_RCVBUFFORCE, large), 0);
  }
  void send(std::size_t payload) {
    const std::string bytes(payload, 'u');
    EXPECT_EQ(sender.call(SYS_sendto, bytes.data(), bytes.size(), 0, dest.get(), dest.length),
              long(payload));
  }
  unsigned receive_all() {
    char bytes[2000];
    unsigned count = 0;
    while (receiver.call(SYS_recvfrom, bytes, sizeof bytes, MSG_DONTWAIT, nullptr, nullptr) >= 0)
      ++count;
    return count;
  }
  int family;
  StackFd sender, receiver;
  SocketAddress source, dest;
};

TEST_F(Flowmeter, CountsEveryPacketOnceAtEachEnd) {
  run([](Stack& stack) {
    for (const auto& [from, to, header] :
         {std::tuple("10.77.0.1", "10.77.0.2", 28U), {"fd6c:6b6d::1", "fd6c:6b6d::2", 48U}}) {
      Datagrams one(stack, from, to), other(stack, from, to);
      std::uint64_t bytes = 0;
      for (unsigned i = 0; i < 500; ++i) {
        one.send(i + 1);
        bytes += i + 1 + header;
        if (i % 5 == 0) other.send(100);
        stack.sleep_for(1ms);
      }
      stack.sleep_for(10ms);
      EXPECT_EQ(one.receive_all(), 500u);
      for (const char* netns : {"left", "right"}) {
        const Meter now = meter(stack, netns);
        const auto first = now.find(one.source.str(), one.dest.str());
        const auto second = now.find(other.source.str(), other.dest.str());
        ASSERT_TRUE(first && second) << netns;
        EXPECT_EQ(first->protocol, unsigned(IPPROTO_UDP));
        EXPECT_EQ(first->packets, 500u);
        EXPECT_EQ(first->bytes, bytes);
        EXPECT_EQ(second->packets, 100u);
        EXPECT_EQ(second->bytes, 100u * (100 + header));
        EXPECT_EQ(now.unmetered, 0u);
      }
    }
    EXPECT_EQ(meter(stack, "").flows, 0u) << "the first netns saw nothing";
  });
}

TEST_F(Flowmeter, CountsLoopbackOnceAndTcpAsTheSocketDoes) {
  run([](Stack& stack) {
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, 0);
    ASSERT_TRUE(pair);
    expect_delivers(pair->client, pair->server, std::string(300'000, 't'));
    SocketAddress client, server;
    ASSERT_EQ(pair->client.call(SYS_getsockname, client.get(), &client.length), 0);
    ASSERT_EQ(pair->client.call(SYS_getpeername, server.get(), &server.length), 0);
    const auto info = tcp_state(pair->client);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->retransmits, 0u);
    const Meter now = meter(stack, "");
    const auto forth = now.find(client.str(), server.str()),
               back = now.find(server.str(), client.str());
    ASSERT_TRUE(forth && back);
    EXPECT_EQ(forth->protocol, unsigned(IPPROTO_TCP));
    // All but the SYN have a header of 20 and 12 bytes, for the timestamp; the SYN 20 more, but 12.
    EXPECT_EQ(forth->bytes, 300'000 + forth->packets * (20 + 32) + 8);
    EXPECT_EQ(back->bytes, back->packets * (20 + 32) + 8);
  });
}

TEST_F(Flowmeter, FollowsTheRate) {
  run([](Stack& stack) {
    Datagrams traffic(stack, "10.77.0.1", "10.77.0.2");
    const auto rate = [&] {
      return double(meter(stack, "right").find(traffic.source.str(), traffic.dest.str())->rate);
    };
    const auto send_for = [&](std::chrono::milliseconds time, std::chrono::milliseconds gap) {
      for (auto left = time; left.count() > 0; left -= gap) {
        traffic.send(972);
        stack.sleep_for(gap);
        traffic.receive_all();
      }
    };
    send_for(10s, 10ms);
    EXPECT_NEAR(rate(), 100'000, 4'000);
    send_for(10s, 2ms);
    EXPECT_NEAR(rate(), 500'000, 20'000);  // sleeps have a slack of 50 us
    // A step takes its time: 7/8 to the eighth are 0.34.
    send_for(1s, 10ms);
    EXPECT_NEAR(rate(), 100'000 + 0.34 * 400'000, 30'000);
    stack.sleep_for(20s);
    EXPECT_LT(rate(), 10);
  });
}

TEST_F(Flowmeter, ForgetsSilentFlowsAndKeepsItsLimit) {
  run(
      [](Stack& stack) {
        std::vector<std::unique_ptr<Datagrams>> all;
        for (int i = 0; i < 8; ++i) {
          all.push_back(std::make_unique<Datagrams>(stack, "10.77.0.1", "10.77.0.2"));
          all.back()->send(10);
          all.back()->send(10);
        }
        stack.sleep_for(10ms);
        Meter now = meter(stack, "right");
        EXPECT_EQ(now.flows, 5u);
        EXPECT_EQ(now.unmetered, 2u * 3);
        for (const auto& one : all) EXPECT_EQ(one->receive_all(), 2u) << "it only counts";

        // One goes on, the others are silent.
        for (int i = 0; i < 40; ++i) {
          all[0]->send(10);
          stack.sleep_for(100ms);
        }
        now = meter(stack, "right");
        EXPECT_EQ(now.flows, 1u);
        EXPECT_EQ(now.find(all[0]->source.str(), all[0]->dest.str())->packets, 42u);
        ASSERT_TRUE(stack.write_file("/sys/module/xt_flowmeter/parameters/max_flows", "6"));
        for (const auto& one : all) one->send(10);
        stack.sleep_for(10ms);
        EXPECT_EQ(meter(stack, "right").flows, 6u);
      },
      "max_flows=5 idle_seconds=2");
}

FilterTable::Rule rule_of(const xt_flowmeter_info& info) {
  return {.match = "flowmeter",
          .data = std::string(reinterpret_cast<const char*>(&info), sizeof info)};
}

TEST_F(Flowmeter, ARuleDropsOnlyTheFastFlow) {
  run([](Stack& stack) {
    const auto tables = stack.load("iptable_filter");
    ASSERT_TRUE(tables) << tables.error().message();
    FilterTable filter(stack, "right");
    const xt_flowmeter_info wrong{.rate = 1, .flags = 0x80};
    EXPECT_EQ(filter.set(rule_of(wrong)), -EINVAL);
    const xt_flowmeter_info above{.rate = 50'000, .flags = 0};
    ASSERT_EQ(filter.set(rule_of(above)), 0);

    Datagrams fast(stack, "10.77.0.1", "10.77.0.2"), slow(stack, "10.77.0.1", "10.77.0.2");
    unsigned fast_sent = 0, slow_sent = 0;
    for (int i = 0; i < 2000; ++i) {
      fast.send(972), ++fast_sent;                   // 100 kB/s
      if (i % 10 == 0) slow.send(972), ++slow_sent;  // 10 kB/s
      stack.sleep_for(10ms);
    }
    const unsigned fast_got = fast.receive_all();
    EXPECT_EQ(slow.receive_all(), slow_sent);
    // Exactly what is missing was dropped by the rule, and metered all the same.
    EXPECT_EQ(filter.packets(), fast_sent - fast_got);
    EXPECT_EQ(meter(stack, "right").find(fast.source.str(), fast.dest.str())->packets, fast_sent);
    // 1 - (7/8)^n > 1/2 from the sixth slot on: some 70 packets are through, then none.
    EXPECT_GT(fast_got, 50u);
    EXPECT_LT(fast_got, 90u);

    // Inverted, it drops the slow one; once the fast one is silent for a while, that too.
    const xt_flowmeter_info below{.rate = 50'000, .flags = XT_FLOWMETER_INVERT};
    ASSERT_EQ(filter.set(rule_of(below)), 0);
    fast.send(1);
    slow.send(1);
    stack.sleep_for(10s);
    EXPECT_EQ(fast.receive_all(), 1u);
    EXPECT_EQ(slow.receive_all(), 0u);
    fast.send(1);
    stack.sleep_for(10ms);
    EXPECT_EQ(fast.receive_all(), 0u);
  });
}

TEST_F(Flowmeter, StaysWhileARuleUsesItAndGoesThen) {
  run([](Stack& stack) {
    ASSERT_TRUE(stack.load("iptable_filter"));
    FilterTable filter(stack, "right");
    const xt_flowmeter_info above{.rate = 50'000, .flags = 0};
    ASSERT_EQ(filter.set(rule_of(above)), 0);
    const auto refused = stack.unload("xt_flowmeter");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), EBUSY);
    ASSERT_EQ(filter.clear(), 0);

    Datagrams traffic(stack, "10.77.0.1", "10.77.0.2");
    traffic.send(100);
    stack.sleep_for(10ms);
    EXPECT_EQ(meter(stack, "right").flows, 1u);
    const auto unloaded = stack.unload("xt_flowmeter");
    EXPECT_TRUE(unloaded) << unloaded.error().message();
    traffic.send(100);
    stack.sleep_for(5s);  // no work is left that would run code which is gone
    EXPECT_EQ(traffic.receive_all(), 2u);
    in_netns(stack, "right",
             [&] { EXPECT_FALSE(stack.read_file("/proc/thread-self/net/flowmeter")); });
    EXPECT_EQ(filter.set(rule_of(above)), -ENOENT) << "the match is unknown";
  });
}

/// Packets of a flow that have come to "right"; 0 of one that is not known there.
std::uint64_t metered(Stack& stack, const Datagrams& flow) {
  const auto found = meter(stack, "right").find(flow.source.str(), flow.dest.str());
  return found ? found->packets : 0;
}

/// Two netns with a link, and a rule that matches nothing: with it the module cannot be reloaded.
FilterTable loaded_with_a_rule(Stack& stack, const std::string& module, const char* parameters) {
  EXPECT_TRUE(Links(stack).add({.a = "left", .b = "right", .delay = 1ms}));
  EXPECT_TRUE(stack.load(module, parameters));
  EXPECT_TRUE(stack.load("iptable_filter"));
  FilterTable filter(stack, "right");
  const xt_flowmeter_info never{.rate = 1'000'000'000, .flags = 0};
  EXPECT_EQ(filter.set(rule_of(never)), 0);
  return filter;
}

TEST_F(Flowmeter, IsRenewedWithItsFlowsHooksAndRules) {
  const auto other = edited(
      "xt_flowmeter",
      {{"xt_flowmeter.c", "flow->packets++;", "flow->packets += 1000;"},
       {"xt_flowmeter.c", "return (rate > info->rate) ^", "return true ^"},
       {"xt_flowmeter.c", "max_flows __read_mostly = 4096", "max_flows __read_mostly = 5000"}});
  // The work that is pending has another place.
  const auto rearranged = edited(
      "xt_flowmeter",
      {{"xt_flowmeter.c", "flow->packets++;", "flow->packets += 1000;"},
       {"xt_flowmeter.c", "return (rate > info->rate) ^", "return true ^"},
       {"xt_flowmeter.c", "max_flows __read_mostly = 4096", "max_flows __read_mostly = 5000"},
       {"xt_flowmeter.c", "\tunsigned int count;", "\tu64 extra[2];\n\tunsigned int count;"}});
  const auto in_front =
      edited("xt_flowmeter", {{"xt_flowmeter.c", "\tspinlock_t lock; /* of changes",
                               "\tu64 extra[2];\n\tspinlock_t lock; /* of changes"}});
  // A key is a member of the flow, and may be anywhere else.
  const auto other_key =
      edited("xt_flowmeter",
             {{"xt_flowmeter.c", "\t__be16 sport; /* 0 without", "\t__be16 dport;\n\t__be16 sport; /* 0 without"},
              {"xt_flowmeter.c", "but the first */\n\t__be16 dport;", "but the first */"}});
  with(
      "xt_flowmeter",
      [&](Stack& stack, const std::string& plain) {
        FilterTable filter = loaded_with_a_rule(stack, plain, "idle_seconds=1000");
        Datagrams traffic(stack, "10.77.0.1", "10.77.0.2");
        // A stream through both hooks, whose rule is the first netns's business.
        FlowSpec spec;
        auto flow = Flow::start(stack, spec);
        ASSERT_TRUE(flow) << flow.error().message();
        std::uint64_t packets = 0, dropped = 0;
        for (int round = 1; round <= 10; ++round) {
          const bool changed = round % 2 != 0;
          if (round % 4 == 3) {
            expect_rearranged(stack, rearranged,
                              "struct flowmeter_net: 3 namespaces rearranged in place");
          } else {
            expect_renewed(stack, changed ? other : plain);
          }
          for (int i = 0; i < 5; ++i) traffic.send(100);
          packets += changed ? 5'000 : 5;
          dropped += changed ? 5 : 0;
          wait_until(stack, [&] { return metered(stack, traffic) >= packets; });
          EXPECT_EQ(metered(stack, traffic), packets);
          EXPECT_EQ(filter.packets(), dropped);
          EXPECT_EQ(traffic.receive_all(), changed ? 0u : 5u);
          EXPECT_EQ(stack.read_file("/sys/module/xt_flowmeter/parameters/max_flows").value(),
                    changed ? "5000\n" : "4096\n");
          EXPECT_EQ(stack.read_file("/sys/module/xt_flowmeter/parameters/idle_seconds").value(),
                    "1000\n");
          if (HasFailure()) return;
        }
        expect_refused_in_place(stack, other_key, "struct flowmeter_key: 'sport' is at byte");
        // A pointer to the table and one to what it is in are the same.
        expect_refused_in_place(stack, in_front, "has the address of the whole");
        // A netns that comes after a swap gets its hooks from the new code.
        expect_renewed(stack, other);
        ASSERT_TRUE(stack.netns_add("later"));
        EXPECT_EQ(meter(stack, "later").flows, 0u);
        const auto removed = stack.netns_del("later");
        EXPECT_TRUE(removed) << removed.error().message();

        (*flow)->stop();
        EXPECT_TRUE((*flow)->wait(stack.now() + 20s));
        const FlowReport report = (*flow)->report();
        EXPECT_EQ(report.state, FlowState::kDone) << report.error;
        EXPECT_EQ(report.bytes_verified, report.bytes_sent);
        ASSERT_EQ(filter.clear(), 0);
        expect_unloads(stack, "xt_flowmeter");
        stack.sleep_for(2s);  // no work is left that would run code which is gone
      },
      Clock::kReal);
}

TEST_F(Flowmeter, KeepsItsFlowsWhenTheirStructureChanges) {
  // One more number has a place in the block, twenty have none; all the other numbers are behind it.
  const auto with_more = [](const char* more) {
    return edited("xt_flowmeter",
                  {{"xt_flowmeter.c", "\tu64 packets;\n", std::string(more) + "\tu64 packets;\n"},
                   {"xt_flowmeter.c", "flow->packets++;", "flow->packets += 1000;\n\tflow->extra[0]++;"},
                   {"xt_flowmeter.c", "rate = flow->rate;\n\tspin_unlock_bh(&flow->lock);\n\n\tif (ipv6",
                    "rate = flow->extra[0];\n\tspin_unlock_bh(&flow->lock);\n\n\tif (ipv6"}});
  };
  const auto fits = with_more("\tu64 extra[1];\n"), moves = with_more("\tu64 extra[20];\n");
  with(
      "xt_flowmeter",
      [&](Stack& stack, const std::string& plain) {
        FilterTable filter = loaded_with_a_rule(stack, plain, "idle_seconds=1000");
        const auto forget_after = [&](const char* seconds) {
          ASSERT_TRUE(stack.write_file("/sys/module/xt_flowmeter/parameters/idle_seconds", seconds));
        };
        auto flow = Flow::start(stack, FlowSpec{});
        ASSERT_TRUE(flow) << flow.error().message();

        // No flow in "right" yet: what the call allocates is known all the same.
        std::vector<std::unique_ptr<Datagrams>> all;
        std::map<const Datagrams*, std::uint64_t> packets;
        const auto left = [&] {
          const Meter now = meter(stack, "right");
          return std::ranges::count_if(all, [&](const auto& one) { return now.find(one->source.str(), one->dest.str()).has_value(); });
        };
        for (int round = 1; round <= 12; ++round) {
          const bool changed = round % 3 != 0;
          const std::string& next = round % 3 == 1 ? moves : round % 3 == 2 ? fits : plain;
          const auto report = stack.swap(next);
          ASSERT_TRUE(report) << report.error().message();
          ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
          const std::string said = fmt::format("{}", fmt::join(report->state_remarks, "\n"));
          EXPECT_NE(said.find("struct flowmeter_flow: "), said.npos) << said;
          if (changed) {
            EXPECT_NE(said.find(round % 3 == 1 ? " in a new place)" : "rearranged in place"), said.npos) << said;
          }
          // Some are silent from now on.
          for (int i = 0; i < 20; ++i) all.push_back(std::make_unique<Datagrams>(stack, "10.77.0.1", "10.77.0.2"));
          for (std::size_t i = all.size() < 60 ? 0 : all.size() - 60; i < all.size(); ++i) {
            for (int packet = 0; packet < 3; ++packet) all[i]->send(100);
            packets[all[i].get()] += changed ? 3'000 : 3;
          }
          // The last that was sent is the last to come.
          wait_until(stack, [&] { return metered(stack, *all.back()) >= packets[all.back().get()]; });
          const Meter now = meter(stack, "right");
          for (std::size_t i = all.size() < 60 ? 0 : all.size() - 60; i < all.size(); ++i) {
            const auto one = now.find(all[i]->source.str(), all[i]->dest.str());
            ASSERT_TRUE(one) << round << ' ' << i << '\n' << said;
            EXPECT_EQ(one->packets, packets[all[i].get()]) << round << ' ' << i;
            // Of the new member: zero for a flow that was there, and both builds that have it agree on it.
            if (changed) {
              EXPECT_GE(one->rate, 3u);
              EXPECT_LE(one->rate, 6u);
            }
          }
          if (round % 4 == 0) {  // each build does it once
            forget_after("0");
            wait_until(stack, [&] { return left() == 0; });
            EXPECT_EQ(left(), 0) << "each is found, and freed, where it is";
            forget_after("1000");
            packets.clear();
          }
          if (HasFailure()) return;
        }

        (*flow)->stop();
        EXPECT_TRUE((*flow)->wait(stack.now() + 20s));
        const FlowReport report = (*flow)->report();
        EXPECT_EQ(report.state, FlowState::kDone) << report.error;
        EXPECT_EQ(report.bytes_verified, report.bytes_sent);
        ASSERT_EQ(filter.clear(), 0);
        expect_unloads(stack, "xt_flowmeter");
        stack.sleep_for(2s);  // two of the sweeps that must not come any more
      },
      Clock::kReal);
}

}  // namespace
}  // namespace lkm
