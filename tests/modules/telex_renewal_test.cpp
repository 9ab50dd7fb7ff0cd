// SPDX-License-Identifier: GPL-2.0
//
// modules/telex, of several files, is renewed while its sockets listen, open, talk and wait.
#include <fcntl.h>

#include "tests/modules/telex_test.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {
namespace {

std::string line_of(Stack& stack, const std::string& netns, const std::string& state) {
  for (const auto& line : listing(stack, netns))
    if (line.starts_with(state + " ")) return line;
  return {};
}

TEST_F(Telex, IsRenewedWithSocketsInEveryState) {
  const auto other =
      edited("telex", {{"listing.c", "\"LISTEN\"", "\"LISTENS\""},
                       {"listing.c", "\"OPEN-SENT\"", "\"OPENING\""},
                       {"timing.c", "(200 * USEC_PER_MSEC)", "(1500 * USEC_PER_MSEC)"},
                       {"timing.c", "ts->timeouts++;", "ts->timeouts += 1000;"}});
  // Its packets have the old one in them.
  const auto other_packets =
      edited("telex", {{"telex.h", "\tu8\ttype;\n\tu8\tflags;\n\tbool\tresent;",
                        "\tu8\tflags;\n\tu8\ttype;\n\tbool\tresent;"}});
  with("telex", [&](Stack& stack, const std::string& plain) {
    ASSERT_TRUE(stack.load(plain));
    Links links(stack);
    const auto lossy = links.add({.a = kLeft, .b = kRight, .delay = 20ms, .loss = 0.02});
    ASSERT_TRUE(lossy) << lossy.error().message();
    auto old = connect_ends(stack);
    ASSERT_TRUE(old);
    ASSERT_EQ(old->listener.call(SYS_listen, 16), 0);
    SocketAddress target;
    ASSERT_EQ(old->listener.call(SYS_getsockname, target.get(), &target.length), 0);
    // A socket that opens: nobody answers, so its timer sends OPEN again and again. Where the peer
    // is was asked before.
    const auto silent = links.add({.a = kLeft, .b = kRight});
    ASSERT_TRUE(silent) << silent.error().message();
    const SocketAddress nobody(silent->b_v4, 1);
    ASSERT_EQ(telex_socket(stack, kLeft).call(SYS_connect, nobody.get(), nobody.length),
              -ECONNREFUSED);
    ASSERT_TRUE(Rtnl::open(stack, kRight)->qdisc_netem(silent->device, {.loss = 1}));
    StackFd opening = telex_socket(stack, kLeft);
    ASSERT_EQ(opening.call(SYS_fcntl, F_SETFL, O_NONBLOCK), 0);
    ASSERT_EQ(opening.call(SYS_connect, nobody.get(), nobody.length), -EINPROGRESS);

    const FlowSpec spec{
        .route = {.client = kLeft, .server = kRight, .transport = Transport::kTelex}};
    auto flow = Flow::start(stack, spec);
    ASSERT_TRUE(flow) << flow.error().message();
    std::vector<StackFd> kept;
    for (int round = 1; round <= 8; ++round) {
      const bool changed = round % 2 != 0;
      // A connection of which OPEN is on its way, and messages in both queues.
      StackFd client = telex_socket(stack, kLeft);
      ASSERT_EQ(client.call(SYS_fcntl, F_SETFL, O_NONBLOCK), 0);
      ASSERT_EQ(client.call(SYS_connect, target.get(), target.length), -EINPROGRESS);
      for (unsigned n = 0; n < 20; ++n)
        ASSERT_EQ(send(old->client, message(n)), long(message(n).size()));
      stack.sleep_for(10ms * round);
      expect_renewed(stack, changed ? other : plain);

      EXPECT_NE(line_of(stack, kRight, changed ? "LISTENS" : "LISTEN"), "");
      // Later its retries may be used up.
      if (round == 1) {
        EXPECT_NE(line_of(stack, kLeft, "OPENING"), "");
      }
      std::string text;
      for (unsigned n = 0; n < 20; ++n) {
        ASSERT_EQ(receive(old->server, text), long(message(n).size()));
        ASSERT_TRUE(text == message(n)) << n;
      }
      const long fd = old->listener.call(SYS_accept4, nullptr, nullptr, 0);
      ASSERT_GE(fd, 0);
      kept.emplace_back(stack, static_cast<int>(fd));
      pollfd ready{.fd = client.get(), .events = POLLOUT, .revents = 0};
      ASSERT_EQ(stack.syscall(SYS_poll, &ready, 1, 10'000), 1);
      ASSERT_EQ(send(client, "new"), 3);
      ASSERT_EQ(receive(kept.back(), text), 3);
      kept.push_back(std::move(client));
      // An old connection's next sample of the round-trip time is the new code's.
      expect_series(stack, old->client, old->server, 5);
      EXPECT_EQ(info_of(old->client).rto_us >= 1'500'000, changed) << info_of(old->client).rto_us;
      if (HasFailure()) return;
    }
    expect_refused_in_place(stack, other_packets, "struct telex_cb: 'type' is at byte");
    expect_refused_in_place(stack, other_packets, "struct telex_cb has changed, and by its name it lies in packets (skb->cb)");

    // The timer that the first code armed goes on to its end.
    expect_renewed(stack, other);
    pollfd failed{.fd = opening.get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(stack.syscall(SYS_poll, &failed, 1, 130'000), 1);
    EXPECT_NE(failed.revents & POLLERR, 0);
    opening.reset();

    (*flow)->stop();
    EXPECT_TRUE((*flow)->wait(stack.now() + 120s));
    const FlowReport report = (*flow)->report();
    EXPECT_EQ(report.state, FlowState::kDone) << report.error;
    EXPECT_EQ(report.bytes_verified, report.bytes_sent);
    ASSERT_TRUE(report.tcp);
    EXPECT_GT(report.tcp->retransmits, 0u);
    flow->reset();
    kept.clear();
    old.reset();
    expect_all_gone(stack);
    expect_unloads(stack, "telex");
  });
}

TEST_F(Telex, KeepsItsSocketsWhenTheirStructureChanges) {
  // Everything behind it has another place then: hash nodes, queues, timers, and what IPv6 has
  // behind it all.
  const auto grown =
      edited("telex", {{"telex.h", "\t/* in the tables of ports.c */\n",
                        "\tu64\textra[5];\n\t/* in the tables of ports.c */\n"},
                       {"telex.h", "\tu32\trcv_messages;", "\tu64\trcv_messages;"},
                       {"timing.c", "ts->timeouts++;", "ts->timeouts++;\n\tts->extra[4]++;"},
                       {"listing.c", "\"LISTEN\"", "\"LISTENS\""}});
  const auto huge = edited(
      "telex", {{"telex.h", "\tu32\tduplicates;\n", "\tu32\tduplicates;\n\tu8\textra[5000];\n"}});
  const auto listed = edited("telex", {{"telex.h", "\tu32\tduplicates;\n",
                                        "\tu32\tduplicates;\n\tstruct list_head\textra;\n"}});
  with("telex", [&](Stack& stack, const std::string& plain) {
    ASSERT_TRUE(stack.load(plain));
    Links links(stack);
    ASSERT_TRUE(links.add({.a = kLeft, .b = kRight, .delay = 20ms, .loss = 0.02}));
    auto v4 = connect_ends(stack), v6 = connect_ends(stack, IpFamily::kV6);
    ASSERT_TRUE(v4 && v6);
    std::vector<std::shared_ptr<Flow>> flows;
    for (const auto family : {IpFamily::kV4, IpFamily::kV6}) {
      auto flow = Flow::start(stack, {.route = {.client = kLeft,
                                                .server = kRight,
                                                .transport = Transport::kTelex,
                                                .family = family}});
      ASSERT_TRUE(flow) << flow.error().message();
      flows.push_back(std::move(*flow));
    }
    for (int round = 1; round <= 8; ++round) {
      const bool changed = round % 2 != 0;
      for (const Ends* ends : {&*v4, &*v6}) {
        for (unsigned n = 0; n < 20; ++n)
          ASSERT_EQ(send(ends->client, message(n)), long(message(n).size()));
      }
      stack.sleep_for(7ms * round);
      expect_rearranged(stack, changed ? grown : plain,
                        changed ? "struct telex_sock: 'extra' is new, and zero"
                                : "struct telex6_sock: 'telex.extra' is gone, with its value");
      EXPECT_NE(line_of(stack, kRight, changed ? "LISTENS" : "LISTEN"), "");
      std::string text;
      for (const Ends* ends : {&*v4, &*v6}) {
        for (unsigned n = 0; n < 20; ++n) {
          ASSERT_EQ(receive(ends->server, text), long(message(n).size()));
          ASSERT_TRUE(text == message(n)) << n;
        }
        expect_series(stack, ends->server, ends->client, 5);
      }
      auto anew = connect_ends(stack, changed ? IpFamily::kV4 : IpFamily::kV6);
      ASSERT_TRUE(anew);
      expect_series(stack, anew->client, anew->server, 5);
      if (HasFailure()) return;
    }
    expect_refused_in_place(stack, huge, "each socket has room for");
    expect_refused_in_place(stack, listed,
                            "'extra' is new, and struct list_head has to be initialised");
    for (auto& flow : flows) {
      flow->stop();
      EXPECT_TRUE(flow->wait(stack.now() + 120s));
      const FlowReport report = flow->report();
      EXPECT_EQ(report.state, FlowState::kDone) << report.error;
      EXPECT_EQ(report.bytes_verified, report.bytes_sent);
      ASSERT_TRUE(report.tcp);
      EXPECT_GT(report.tcp->retransmits, 0u);
    }
    flows.clear();
    v4.reset();
    v6.reset();
    expect_all_gone(stack);
    expect_unloads(stack, "telex");
  });
}

/// What a call on a socket gives that a swap has ended.
void expect_reset(Stack& stack, const StackFd& socket) {
  char byte = 0;
  EXPECT_EQ(socket.call(SYS_sendto, &byte, 1, MSG_NOSIGNAL, nullptr, 0), -ENETRESET);
  EXPECT_EQ(socket.call(SYS_recvfrom, &byte, 1, 0, nullptr, nullptr), -ENETRESET);
  EXPECT_EQ(socket.call(SYS_listen, 1), -ENETRESET);
  EXPECT_EQ(socket.call(SYS_accept4, nullptr, nullptr, 0), -ENETRESET);
  int kind = 0;
  socklen_t length = sizeof(kind);
  EXPECT_EQ(socket.call(SYS_getsockopt, SOL_SOCKET, SO_TYPE, &kind, &length), 0);
  pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(stack.syscall(SYS_poll, &ready, 1, 0), 1);
  EXPECT_NE(ready.revents & POLLERR, 0);
}

TEST_F(Telex, EndsItsSocketsAndNoOthersWhenItIsReset) {
  const auto larger =
      edited("telex", {{"telex.h", "\tu32\tduplicates;\n", "\tu32\tduplicates;\n\tu32\textra;\n"}});
  with("telex", [&](Stack& stack, const std::string& plain) {
    ASSERT_TRUE(stack.load(plain));
    Links links(stack);
    ASSERT_TRUE(links.add({.a = kLeft, .b = kRight, .delay = 5ms}));
    auto bystander = Flow::start(stack, {.route = {.client = kLeft, .server = kRight}});
    ASSERT_TRUE(bystander) << bystander.error().message();
    auto old = connect_ends(stack);
    ASSERT_TRUE(old);
    ASSERT_EQ(send(old->client, message(1)), long(message(1).size()));
    const StackFd unused = telex_socket(stack, kLeft);
    // One sleeps in the module, one in poll(2).
    long received = 0;
    auto sleeper = stack.spawn("sleeper", [&] {
      std::string text;
      received = receive(old->client, text);
    });
    short polled = 0;
    auto poller = stack.spawn("poller", [&] {
      pollfd ready{.fd = old->listener.get(), .events = POLLIN, .revents = 0};
      if (stack.syscall(SYS_poll, &ready, 1, 60'000) == 1) polled = ready.revents;
    });
    ASSERT_TRUE(sleeper && poller);
    stack.sleep_for(20ms);

    // Two generations of a protocol cannot serve side by side.
    const auto drained = stack.swap(larger, {.state = StatePolicy::kDrain});
    ASSERT_FALSE(drained);
    EXPECT_EQ(drained.error().errno_value(), EOPNOTSUPP);

    const auto report = stack.swap(larger, {.state = StatePolicy::kReset});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kReloaded);
    EXPECT_EQ(report->reset.size(), 4u);  // the listener, the two ends, the unused one
    sleeper->join();
    EXPECT_EQ(received, -EINTR);
    poller->join();
    EXPECT_NE(polled & POLLERR, 0);
    expect_reset(stack, old->listener);
    expect_reset(stack, old->client);
    expect_reset(stack, old->server);
    expect_reset(stack, unused);

    auto anew = connect_ends(stack);
    ASSERT_TRUE(anew);
    expect_series(stack, anew->client, anew->server, 20);
    (*bystander)->stop();
    ASSERT_TRUE((*bystander)->wait(stack.now() + 10s));
    EXPECT_EQ((*bystander)->report().state, FlowState::kDone) << (*bystander)->report().error;
    old = {};
    anew = {};
    expect_unloads(stack, "telex");
  });
}

TEST_F(Telex, EndsNothingWhenAQdiscOfItsOwnStandsInTheWayOfAReset) {
  // A protocol with a qdisc, as one that paces has.
  const auto with_qdisc =
      edited("telex", {{"main.c", "#include <net/inet_common.h>", "#include <net/inet_common.h>\n#include <net/pkt_sched.h>"},
                       {"main.c", "static int __init telex_register(void)\n{\n\tint err;\n",
                        "static int toy_enqueue(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free)\n"
                        "{\n\treturn qdisc_enqueue_tail(skb, sch);\n}\n\n"
                        "static struct Qdisc_ops toy_ops __read_mostly = {\n\t.id = \"toy\",\n"
                        "\t.enqueue = toy_enqueue,\n\t.dequeue = qdisc_dequeue_head,\n\t.peek = qdisc_peek_head,\n"
                        "\t.reset = qdisc_reset_queue,\n\t.owner = THIS_MODULE,\n};\n\n"
                        "static int __init telex_register(void)\n{\n\tint err;\n\n"
                        "\terr = register_qdisc(&toy_ops);\n\tif (err)\n\t\treturn err;\n"},
                       {"main.c", "static void __exit telex_unregister(void)\n{\n",
                        "static void __exit telex_unregister(void)\n{\n\tunregister_qdisc(&toy_ops);\n"}});
  with("telex", [&](Stack& stack, const std::string&) {
    ASSERT_TRUE(stack.load(with_qdisc));
    Links links(stack);
    ASSERT_TRUE(links.add({.a = kLeft, .b = kRight, .delay = 5ms}));
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    const auto before = stack.sysctl("net.core.default_qdisc");
    ASSERT_TRUE(before);
    ASSERT_TRUE(stack.sysctl("net.core.default_qdisc", "toy"));
    const auto refused = stack.swap(with_qdisc, {.state = StatePolicy::kReset});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), EBUSY);
    const auto said = refused.error().message();
    EXPECT_NE(said.find("net.core.default_qdisc names it"), said.npos) << said;
    // Nothing has ended: the sockets are as they were.
    expect_series(stack, ends->client, ends->server, 20);
    expect_series(stack, ends->server, ends->client, 20);

    ASSERT_TRUE(stack.sysctl("net.core.default_qdisc", *before));
    const auto reset = stack.swap(with_qdisc, {.state = StatePolicy::kReset});
    ASSERT_TRUE(reset) << reset.error().message();
    EXPECT_EQ(reset->reset.size(), 3u);
    expect_reset(stack, ends->client);
    ends.reset();
    expect_unloads(stack, "telex");
  });
}

}  // namespace
}  // namespace lkm
