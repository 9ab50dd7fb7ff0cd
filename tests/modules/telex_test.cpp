// SPDX-License-Identifier: GPL-2.0
//
// The transport protocol of modules/telex, by the ordinary socket API, over emulated links.
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "modules/telex/telex_user.h"
#include "tests/modules/module_test.hpp"
#include "tests/protocols/stack_test.hpp"
#include "toolkit/net/links.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr const char* kLeft = "left";
constexpr const char* kRight = "right";

class Telex : public ModuleTest {
 protected:
  void run(const std::function<void(Stack&)>& body) {
    with("telex", [&](Stack& stack, const std::string& plugin) {
      const auto module = stack.load(plugin);
      ASSERT_TRUE(module) << module.error().message();
      body(stack);
    });
  }
};

StackFd telex_socket(Stack& stack, const std::string& netns = "", IpFamily family = IpFamily::kV4) {
  auto socket = socket_in(stack, netns, static_cast<int>(family), SOCK_SEQPACKET, IPPROTO_TELEX);
  EXPECT_TRUE(socket) << socket.error().message();
  return socket ? std::move(*socket) : StackFd();
}

telex_info info_of(const StackFd& socket) {
  telex_info info{};
  socklen_t length = sizeof info;
  EXPECT_EQ(socket.call(SYS_getsockopt, SOL_TELEX, TELEX_INFO, &info, &length), 0);
  EXPECT_EQ(length, sizeof info);
  return info;
}

long send(const StackFd& socket, std::string_view text, int flags = 0) {
  return socket.call(SYS_sendto, text.data(), text.size(), flags | MSG_NOSIGNAL, nullptr, 0);
}

long receive(const StackFd& socket, std::string& text, std::size_t room = TELEX_MAX_MESSAGE,
             int flags = 0) {
  text.resize(room);
  const long got = socket.call(SYS_recvfrom, text.data(), room, flags, nullptr, nullptr);
  text.resize(got > 0 ? std::min<std::size_t>(room, static_cast<std::size_t>(got)) : 0);
  return got;
}

/// Message number `n` of a series: of any size, and no two alike.
std::string message(unsigned n) {
  std::mt19937 random(n);
  std::string text(n % 7 == 3 ? random() % 20'000 : random() % 2'000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

void link(Stack& stack, LinkSpec spec = {}) {
  Links links(stack);
  spec.a = kLeft;
  spec.b = kRight;
  const auto made = links.add(spec);
  ASSERT_TRUE(made) << made.error().message();
}

/// A connection from `left` to `right` over link 0.
struct Ends {
  StackFd client, server, listener;
};

std::optional<SocketAddress> listen_on(const StackFd& listener, const std::string& address,
                                       int backlog = 1) {
  const auto name = bind_any(listener, address);
  if (!name || !succeeds(listener.call(SYS_listen, backlog), "listen")) return {};
  return name;
}

std::optional<Ends> connect_ends(Stack& stack, IpFamily family = IpFamily::kV4) {
  Ends ends{.client = telex_socket(stack, kLeft, family),
            .server = {},
            .listener = telex_socket(stack, kRight, family)};
  const auto name =
      listen_on(ends.listener, family == IpFamily::kV4 ? "10.77.0.2" : "fd6c:6b6d::2");
  if (!name || !succeeds(ends.client.call(SYS_connect, name->get(), name->length), "connect"))
    return {};
  const long fd = ends.listener.call(SYS_accept4, nullptr, nullptr, 0);
  if (!succeeds(fd, "accept")) return {};
  ends.server = StackFd(stack, static_cast<int>(fd));
  return ends;
}

/// Sends messages 0 to `count` on the one and expects them, in order and whole, on the other.
void expect_series(Stack& stack, const StackFd& from, const StackFd& to, unsigned count) {
  auto sender = stack.spawn("sender", [&] {
    for (unsigned n = 0; n < count; ++n)
      ASSERT_EQ(send(from, message(n)), long(message(n).size())) << n;
  });
  ASSERT_TRUE(sender);
  std::string text;
  for (unsigned n = 0; n < count; ++n) {
    ASSERT_EQ(receive(to, text), long(message(n).size())) << n;
    ASSERT_TRUE(text == message(n)) << n;
  }
  sender->join();
}

/// The lines of /proc/net/telex that the netns has, without the heading.
std::vector<std::string> listing(Stack& stack, const std::string& netns) {
  std::vector<std::string> lines;
  auto fiber = stack.spawn("listing", [&] {
    ASSERT_TRUE(stack.netns_enter(netns));
    const auto text = stack.read_file("/proc/thread-self/net/telex");
    ASSERT_TRUE(text) << text.error().message();
    std::istringstream in(*text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
  });
  EXPECT_TRUE(fiber);
  fiber->join();
  if (!lines.empty()) lines.erase(lines.begin());
  return lines;
}

/// Waits until no socket of the protocol is left, TIME-WAIT included.
void expect_all_gone(Stack& stack) {
  const StackTime deadline = stack.now() + 10s;
  const auto users = [&] {
    const auto modules = stack.modules();
    if (!modules) return -1;
    for (const auto& module : *modules)
      if (module.name == "telex") return module.refcount;
    return -1;
  };
  while (users() > 0 && stack.now() < deadline) stack.sleep_for(100ms);
  EXPECT_EQ(users(), 0);
}

TEST_F(Telex, CarriesVerifiedFlowsInBothFamilies) {
  run([](Stack& stack) {
    link(stack, {.rate = 100'000'000, .delay = 5ms, .jitter = 1ms, .loss = 0.005});
    for (const IpFamily family : {IpFamily::kV4, IpFamily::kV6}) {
      for (const bool back : {false, true}) {
        const Route route{.client = back ? kRight : kLeft,
                          .server = back ? kLeft : kRight,
                          .transport = Transport::kTelex,
                          .family = family};
        const FlowReport report = expect_intact(stack, {.route = route, .bytes = 4 << 20});
        ASSERT_TRUE(report.tcp);
        EXPECT_GT(report.tcp->retransmits, 0u);
        EXPECT_GT(report.tcp->rtt, 8ms);
        expect_intact(stack, {.kind = FlowKind::kRequests, .route = route, .requests = 50});
      }
    }
    const Route loopback{.transport = Transport::kTelex};
    expect_intact(stack, {.route = loopback, .bytes = 16 << 20});
    expect_intact(stack, {.kind = FlowKind::kRequests,
                          .route = loopback,
                          .requests = 20,
                          .request_bytes = 200'000,
                          .response_bytes = 100'000});
  });
}

TEST_F(Telex, MendsLossAndReorderingInBothDirections) {
  run([](Stack& stack) {
    link(stack, {.rate = 50'000'000, .delay = 10ms, .jitter = 3ms, .loss = 0.02});
    for (const IpFamily family : {IpFamily::kV4, IpFamily::kV6}) {
      const auto ends = connect_ends(stack, family);
      ASSERT_TRUE(ends);
      auto back =
          stack.spawn("back", [&] { expect_series(stack, ends->server, ends->client, 300); });
      ASSERT_TRUE(back);
      expect_series(stack, ends->client, ends->server, 300);
      back->join();
      for (const StackFd* end : {&ends->client, &ends->server}) {
        const telex_info info = info_of(*end);
        EXPECT_GT(info.retransmits, 0u);
        EXPECT_GT(info.srtt_us, 10'000u);
        EXPECT_LT(info.srtt_us, 120'000u);
        EXPECT_GE(info.rto_us, 200'000u);
        EXPECT_EQ(info.state, 1u);
      }
    }
  });
}

TEST_F(Telex, MeasuresTheRoundTripTime) {
  run([](Stack& stack) {
    link(stack, {.delay = 25ms});
    const auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    expect_series(stack, ends->client, ends->server, 50);
    const telex_info info = info_of(ends->client);
    EXPECT_GE(info.srtt_us, 50'000u);
    EXPECT_LT(info.srtt_us, 50'000u + 20'000u + 1'000u) << "20 ms is the delay of an ACK";
    EXPECT_EQ(info.retransmits, 0u);
    EXPECT_EQ(info.timeouts, 0u);
    EXPECT_EQ(info.mss, 1500u - 20 - 24);
    EXPECT_EQ(info_of(ends->server).received, info.sent);
  });
}

TEST_F(Telex, KeepsTheBoundsOfMessages) {
  run([](Stack& stack) {
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_SEQPACKET, IPPROTO_TELEX);
    ASSERT_TRUE(pair);
    std::string big(TELEX_MAX_MESSAGE, 'x'), text;
    big.front() = 'a';
    big.back() = 'z';
    for (const std::string& one : {std::string("one"), std::string(), std::string("and two"), big})
      ASSERT_EQ(send(pair->client, one), long(one.size()));
    EXPECT_EQ(send(pair->client, big + "!"), -EMSGSIZE);

    // A look that leaves it there, a look at its size, and a buffer that is too short.
    EXPECT_EQ(receive(pair->server, text, 100, MSG_PEEK), 3);
    EXPECT_EQ(receive(pair->server, text, 1, MSG_PEEK | MSG_TRUNC), 3);
    EXPECT_EQ(receive(pair->server, text), 3);
    EXPECT_EQ(text, "one");
    EXPECT_EQ(receive(pair->server, text), 0);
    char part[4];
    iovec vector{part, sizeof part};
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    EXPECT_EQ(pair->server.call(SYS_recvmsg, &header, 0), 4);
    EXPECT_EQ(std::string(part, 4), "and ");
    EXPECT_EQ(header.msg_flags & (MSG_TRUNC | MSG_EOR), MSG_TRUNC);
    EXPECT_EQ(receive(pair->server, text), long(big.size()));
    EXPECT_TRUE(text == big);
    EXPECT_EQ(receive(pair->server, text, 1, MSG_DONTWAIT), -EAGAIN);
  });
}

TEST_F(Telex, WaitsAsItIsTold) {
  run([](Stack& stack) {
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_SEQPACKET, IPPROTO_TELEX);
    ASSERT_TRUE(pair);
    std::string text;
    EXPECT_EQ(receive(pair->server, text, 1, MSG_DONTWAIT), -EAGAIN);

    const timeval half{.tv_sec = 0, .tv_usec = 500'000};
    ASSERT_EQ(pair->server.set_option(SOL_SOCKET, SO_RCVTIMEO, half), 0);
    StackTime start = stack.now();
    EXPECT_EQ(receive(pair->server, text, 1), -EAGAIN);
    EXPECT_GE(stack.now() - start, 500ms);
    EXPECT_LT(stack.now() - start, 600ms);

    // An interrupt ends each wait: for a message, for room, for a connection to accept.
    ASSERT_EQ(pair->server.set_option(SOL_SOCKET, SO_RCVTIMEO, timeval{}), 0);
    const auto expect_interrupted = [&](const std::function<long()>& call) {
      long result = 0;
      bool ended = false;
      auto fiber = stack.spawn("waiter", [&] {
        result = call();
        ended = true;
      });
      ASSERT_TRUE(fiber);
      stack.sleep_for(1s);
      EXPECT_FALSE(ended);
      fiber->interrupt();
      fiber->join();
      // -ERESTARTSYS leaves the kernel as EINTR.
      EXPECT_EQ(result, -EINTR);
    };
    expect_interrupted([&] {
      std::string into;
      return receive(pair->server, into, 1);
    });
    expect_interrupted([&] {
      for (;;)
        if (const long sent = send(pair->client, std::string(60'000, 'x')); sent < 0) return sent;
    });
    const StackFd listener = telex_socket(stack);
    ASSERT_TRUE(listen_on(listener, "127.0.0.1"));
    expect_interrupted([&] { return listener.call(SYS_accept4, nullptr, nullptr, 0); });
  });
}

TEST_F(Telex, TellsPollWhatIsReady) {
  run([](Stack& stack) {
    link(stack, {.delay = 5ms});
    const StackFd listener = telex_socket(stack, kRight), client = telex_socket(stack, kLeft);
    const auto name = listen_on(listener, "10.77.0.2");
    ASSERT_TRUE(name);
    const auto events = [&](const StackFd& socket, std::chrono::nanoseconds wait = 0ns,
                            short wanted = POLLIN | POLLOUT | POLLRDHUP) {
      pollfd one{socket.get(), wanted, 0};
      const timespec timeout{.tv_sec = 0, .tv_nsec = wait.count()};
      EXPECT_GE(stack.syscall(SYS_ppoll, &one, 1, &timeout, nullptr, 0), 0);
      return one.revents;
    };
    EXPECT_EQ(events(listener), 0);
    ASSERT_EQ(client.call(SYS_fcntl, F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(client.call(SYS_connect, name->get(), name->length), -EINPROGRESS);
    EXPECT_EQ(client.call(SYS_connect, name->get(), name->length), -EALREADY);
    EXPECT_EQ(events(client), 0);
    EXPECT_EQ(events(client, 500ms), POLLOUT);
    EXPECT_EQ(events(listener, 500ms), POLLIN);
    const StackFd server(stack, static_cast<int>(listener.call(SYS_accept4, nullptr, nullptr, 0)));
    ASSERT_TRUE(server);
    EXPECT_EQ(events(listener), 0);

    EXPECT_EQ(events(server), POLLOUT);
    while (send(client, std::string(30'000, 'x')) > 0) {
    }
    EXPECT_EQ(events(client) & POLLOUT, 0) << "the buffer is full";
    EXPECT_EQ(events(server, 500ms, POLLIN), POLLIN);
    std::string text;
    auto reader = stack.spawn("reader", [&] {
      while (receive(server, text) > 0) {
      }
    });
    ASSERT_TRUE(reader);
    EXPECT_EQ(events(client, 900ms, POLLOUT), POLLOUT);
    ASSERT_EQ(client.call(SYS_shutdown, SHUT_WR), 0);
    reader->join();
    EXPECT_EQ(events(server), POLLIN | POLLOUT | POLLRDHUP);
    ASSERT_EQ(server.call(SYS_shutdown, SHUT_WR), 0);
    EXPECT_EQ(events(client, 500ms, POLLIN), POLLIN | POLLHUP);
  });
}

TEST_F(Telex, IsRefusedWhereNobodyListens) {
  run([](Stack& stack) {
    link(stack);
    for (const char* address : {"10.77.0.2", "fd6c:6b6d::2"}) {
      const IpPrefix target = IpPrefix::parse(address).value();
      const SocketAddress nobody(target, 4321);
      StackFd client = telex_socket(stack, kLeft, target.family);
      EXPECT_EQ(client.call(SYS_connect, nobody.get(), nobody.length), -ECONNREFUSED);
      // The socket is as new: it connects where somebody does.
      const StackFd listener = telex_socket(stack, kRight, target.family);
      const auto name = listen_on(listener, address);
      ASSERT_TRUE(name);
      EXPECT_EQ(client.call(SYS_connect, name->get(), name->length), 0);
      EXPECT_EQ(client.call(SYS_connect, name->get(), name->length), -EISCONN);
    }
    const SocketAddress nowhere(IpPrefix::parse("192.0.2.1").value(), 1);
    EXPECT_EQ(telex_socket(stack, kLeft).call(SYS_connect, nowhere.get(), nowhere.length),
              -ENETUNREACH);
    EXPECT_EQ(send(telex_socket(stack), "x"), -ENOTCONN);
  });
}

TEST_F(Telex, GivesUpWhenThePeerIsSilent) {
  run([](Stack& stack) {
    Links links(stack);
    ASSERT_TRUE(links.add({.a = kLeft, .b = kRight}));
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    auto net = Rtnl::open(stack, kRight);
    ASSERT_TRUE(net);
    ASSERT_TRUE(net->qdisc_netem("link0", {.loss = 1}));

    // A new connection: some retries of OPEN. An old one: more, with the doubled timeout.
    const StackFd another = telex_socket(stack, kLeft);
    SocketAddress target;
    ASSERT_EQ(ends->listener.call(SYS_getsockname, target.get(), &target.length), 0);
    StackTime start = stack.now();
    EXPECT_EQ(another.call(SYS_connect, target.get(), target.length), -ETIMEDOUT);
    EXPECT_GT(stack.now() - start, 30s);
    EXPECT_LT(stack.now() - start, 120s);

    ASSERT_EQ(send(ends->client, "anyone?"), 7);
    std::string text;
    start = stack.now();
    // What ICMP said meanwhile is the better reason: nobody answers for the address any more.
    EXPECT_EQ(receive(ends->client, text), -EHOSTUNREACH);
    EXPECT_GT(stack.now() - start, 100s);
    EXPECT_EQ(info_of(ends->client).retransmits, 10u);
    EXPECT_EQ(receive(ends->client, text), 0);
    EXPECT_EQ(send(ends->client, "x"), -EPIPE);
  });
}

TEST_F(Telex, ResetsThePeerWhenMessagesWereNotRead) {
  run([](Stack& stack) {
    link(stack, {.delay = 5ms});
    std::string text;
    {
      auto ends = connect_ends(stack);
      ASSERT_TRUE(ends);
      ASSERT_EQ(send(ends->client, "unread"), 6);
      stack.sleep_for(50ms);
      ends->server.reset();
      EXPECT_EQ(receive(ends->client, text), -ECONNRESET);
    }
    {
      auto ends = connect_ends(stack);
      ASSERT_TRUE(ends);
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      ASSERT_EQ(ends->client.set_option(SOL_SOCKET, SO_LINGER, at_once), 0);
      ends->client.reset();
      EXPECT_EQ(receive(ends->server, text), -ECONNRESET);
    }
    {  // who writes to one that has closed
      auto ends = connect_ends(stack);
      ASSERT_TRUE(ends);
      ends->server.reset();
      EXPECT_EQ(receive(ends->client, text), 0);
      EXPECT_EQ(send(ends->client, "too late"), 8);
      stack.sleep_for(50ms);
      EXPECT_EQ(send(ends->client, "x"), -EPIPE);
    }
    {  // and children that were never accepted
      auto ends = connect_ends(stack);
      ASSERT_TRUE(ends);
      SocketAddress target;
      ASSERT_EQ(ends->listener.call(SYS_getsockname, target.get(), &target.length), 0);
      const StackFd waiting = telex_socket(stack, kLeft);
      ASSERT_EQ(waiting.call(SYS_connect, target.get(), target.length), 0);
      ends->listener.reset();
      EXPECT_EQ(receive(waiting, text), -ECONNRESET);
      expect_series(stack, ends->client, ends->server, 10);
    }
    expect_all_gone(stack);
  });
}

TEST_F(Telex, DeliversWhatWasUnsentAtClose) {
  run([](Stack& stack) {
    link(stack, {.rate = 1'000'000, .delay = 20ms, .loss = 0.02});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    unsigned sent = 0;
    while (send(ends->client, message(sent), MSG_DONTWAIT) >= 0) ++sent;
    EXPECT_GT(info_of(ends->client).unsent, 20u);
    ends->client.reset();
    std::string text;
    for (unsigned n = 0; n < sent; ++n) {
      ASSERT_EQ(receive(ends->server, text), long(message(n).size())) << n;
      ASSERT_TRUE(text == message(n)) << n;
    }
    EXPECT_EQ(receive(ends->server, text), 0);
    ends->server.reset();
    ends->listener.reset();
    expect_all_gone(stack);
  });
}

TEST_F(Telex, LingersUntilAllIsThere) {
  run([](Stack& stack) {
    link(stack, {.rate = 1'000'000, .delay = 20ms});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    const linger patient{.l_onoff = 1, .l_linger = 10};
    ASSERT_EQ(ends->client.set_option(SOL_SOCKET, SO_LINGER, patient), 0);
    ASSERT_EQ(send(ends->client, std::string(50'000, 'x')), 50'000);
    const StackTime start = stack.now();
    ends->client.reset();
    // 50 kB at 1 Mbit/s are 0.4 s.
    EXPECT_GT(stack.now() - start, 350ms);
    EXPECT_LT(stack.now() - start, 2s);
    std::string text;
    EXPECT_EQ(receive(ends->server, text, TELEX_MAX_MESSAGE, MSG_DONTWAIT), 50'000);
  });
}

TEST_F(Telex, GoesOnInOneDirectionWhenTheOtherIsShut) {
  run([](Stack& stack) {
    link(stack, {.delay = 5ms, .loss = 0.01});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    expect_series(stack, ends->client, ends->server, 20);
    ASSERT_EQ(ends->client.call(SYS_shutdown, SHUT_WR), 0);
    std::string text;
    EXPECT_EQ(receive(ends->server, text), 0);
    EXPECT_EQ(send(ends->client, "x"), -EPIPE);
    expect_series(stack, ends->server, ends->client, 100);
    ASSERT_EQ(ends->server.call(SYS_shutdown, SHUT_WR), 0);
    EXPECT_EQ(receive(ends->client, text), 0);
  });
}

// The peer reads on, but never closes: nobody waits for its FIN for ever.
TEST_F(Telex, ForgetsAClosedSocketWhosePeerStays) {
  run([](Stack& stack) {
    link(stack, {.delay = 5ms});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    unsigned sent = 0;
    for (int quiet = 0; quiet < 5; ++quiet, stack.sleep_for(100ms))
      while (send(ends->client, message(sent), MSG_DONTWAIT) >= 0) ++sent;
    ends->client.reset();
    std::string text;
    for (unsigned n = 0; n < sent; ++n)
      ASSERT_EQ(receive(ends->server, text), long(message(n).size()));
    EXPECT_EQ(receive(ends->server, text), 0);
    stack.sleep_for(1s);
    ASSERT_EQ(listing(stack, kLeft).size(), 1u);
    EXPECT_EQ(listing(stack, kLeft)[0].find("FIN-WAIT-2"), 0u);
    stack.sleep_for(61s);
    EXPECT_EQ(listing(stack, kLeft).size(), 0u);
    EXPECT_EQ(send(ends->server, "anyone?"), 7);
    stack.sleep_for(50ms);
    EXPECT_EQ(send(ends->server, "no"), -EPIPE);
  });
}

TEST_F(Telex, ComesBackAfterAnOutage) {
  run([](Stack& stack) {
    link(stack, {.rate = 20'000'000, .delay = 10ms});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    auto sender = stack.spawn("sender", [&] {
      for (unsigned n = 0; n < 1000; ++n)
        ASSERT_EQ(send(ends->client, message(n)), long(message(n).size()));
    });
    ASSERT_TRUE(sender);
    std::string text;
    unsigned n = 0;
    for (; n < 200; ++n) ASSERT_EQ(receive(ends->server, text), long(message(n).size()));
    auto net = Rtnl::open(stack, kLeft);
    ASSERT_TRUE(net);
    ASSERT_TRUE(net->qdisc_netem("link0", {.loss = 1}));
    stack.sleep_for(5s);
    ASSERT_TRUE(net->qdisc_netem("link0", {.delay = 10ms, .rate = 20'000'000}));
    const StackTime start = stack.now();
    for (; n < 1000; ++n) {
      ASSERT_EQ(receive(ends->server, text), long(message(n).size()));
      ASSERT_TRUE(text == message(n));
    }
    sender->join();
    // The doubled timeout is 6.4 s at most; the 2 MB that are left take a second.
    EXPECT_LT(stack.now() - start, 10s);
    EXPECT_GE(info_of(ends->client).timeouts, 3u);
  });
}

TEST_F(Telex, SpeaksOverAddressesOfOneLink) {
  run([](Stack& stack) {
    link(stack);
    stack.sleep_for(3s);  // the addresses are checked first
    std::string hex;
    unsigned index = 0;
    auto fiber = stack.spawn("addresses", [&] {
      ASSERT_TRUE(stack.netns_enter(kRight));
      std::istringstream in(stack.read_file("/proc/thread-self/net/if_inet6").value());
      std::string address, number, rest;
      while (in >> address >> number && std::getline(in, rest))
        if (address.starts_with("fe80")) hex = address;
    });
    ASSERT_TRUE(fiber);
    fiber->join();
    ASSERT_EQ(hex.size(), 32u);
    IpPrefix target = IpPrefix::parse("fe80::1").value();
    for (std::size_t i = 0; i < 16; ++i)
      target.bytes[i] = static_cast<std::uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
    auto net = Rtnl::open(stack, kLeft);
    ASSERT_TRUE(net);
    index = net->link_index("link0").value();

    const StackFd listener = telex_socket(stack, kRight, IpFamily::kV6);
    SocketAddress name = listen_on(listener, "::").value();
    name = SocketAddress(target, name.port());
    const StackFd client = telex_socket(stack, kLeft, IpFamily::kV6);
    EXPECT_EQ(client.call(SYS_connect, name.get(), name.length), -EINVAL) << "which link?";
    reinterpret_cast<sockaddr_in6*>(name.get())->sin6_scope_id = index;
    ASSERT_EQ(client.call(SYS_connect, name.get(), name.length), 0);
    const StackFd server(stack, static_cast<int>(listener.call(SYS_accept4, nullptr, nullptr, 0)));
    ASSERT_TRUE(server);
    expect_series(stack, client, server, 50);
    expect_series(stack, server, client, 50);
  });
}

TEST_F(Telex, StopsWhenTheWindowIsFullAndGoesOn) {
  run([](Stack& stack) {
    link(stack, {.delay = 5ms});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    unsigned sent = 0;
    // Until both buffers are full, whatever time passes.
    for (int quiet = 0; quiet < 20; ++quiet) {
      while (send(ends->client, message(sent), MSG_DONTWAIT) >= 0) {
        ++sent;
        quiet = 0;
      }
      stack.sleep_for(100ms);
    }
    const telex_info full = info_of(ends->client);
    EXPECT_EQ(full.send_window, 0u);
    EXPECT_EQ(full.in_flight, 0u);
    EXPECT_GT(full.unsent, 20u);
    int buffer = 0;
    socklen_t length = sizeof buffer;
    ASSERT_EQ(ends->server.call(SYS_getsockopt, SOL_SOCKET, SO_RCVBUF, &buffer, &length), 0);
    // What is held stays below the limit: see rx_queue, the fifth column.
    for (const std::string& line : listing(stack, kRight)) {
      std::istringstream in(line);
      std::string word;
      for (int i = 0; i < 5; ++i) in >> word;
      EXPECT_LE(std::stol(word), buffer) << line;
    }

    // For an hour nobody reads: probes keep the connection. The window's opening is lost, too.
    stack.sleep_for(std::chrono::hours(1));
    auto net = Rtnl::open(stack, kRight);
    ASSERT_TRUE(net);
    ASSERT_TRUE(net->qdisc_netem("link0", {.loss = 1}));
    std::string text;
    unsigned n = 0;
    for (; receive(ends->server, text, TELEX_MAX_MESSAGE, MSG_DONTWAIT) >= 0; ++n)
      ASSERT_TRUE(text == message(n)) << n;
    ASSERT_TRUE(net->qdisc_netem("link0", {.delay = 5ms}));
    for (; n < sent; ++n) {
      ASSERT_EQ(receive(ends->server, text), long(message(n).size())) << n;
      ASSERT_TRUE(text == message(n)) << n;
    }
    EXPECT_EQ(info_of(ends->client).send_window != 0, true);
  });
}

TEST_F(Telex, TakesAMessageThatIsLargerThanItsBuffers) {
  run([](Stack& stack) {
    link(stack, {.delay = 1ms, .loss = 0.01});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    const int small = 2'000;
    ASSERT_EQ(ends->server.set_option(SOL_SOCKET, SO_RCVBUF, small), 0);
    ASSERT_EQ(ends->client.set_option(SOL_SOCKET, SO_SNDBUF, small), 0);
    const std::string big(TELEX_MAX_MESSAGE, 'b');
    auto sender = stack.spawn("sender", [&] {
      for (int i = 0; i < 5; ++i) ASSERT_EQ(send(ends->client, big), long(big.size()));
    });
    ASSERT_TRUE(sender);
    std::string text;
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(receive(ends->server, text), long(big.size()));
      ASSERT_TRUE(text == big);
    }
    sender->join();
  });
}

TEST_F(Telex, FollowsAPathWhoseMtuShrinks) {
  run([](Stack& stack) {
    link(stack, {.delay = 1ms});
    for (const IpFamily family : {IpFamily::kV4, IpFamily::kV6}) {
      for (const char* side : {kLeft, kRight}) {
        const StackFd socket = telex_socket(stack, side);
        ifreq request{};
        std::strcpy(request.ifr_name, "link0");
        request.ifr_mtu = 1500;
        ASSERT_EQ(socket.call(SYS_ioctl, SIOCSIFMTU, &request), 0);
      }
      auto ends = connect_ends(stack, family);
      ASSERT_TRUE(ends);
      // Segments of the old size wait behind a full window when the device shrinks.
      while (send(ends->client, std::string(9'000, 'm'), MSG_DONTWAIT) > 0) {
      }
      ifreq request{};
      std::strcpy(request.ifr_name, "link0");
      request.ifr_mtu = 1300;
      ASSERT_EQ(ends->client.call(SYS_ioctl, SIOCSIFMTU, &request), 0);
      std::string text;
      auto reader = stack.spawn("reader", [&] {
        while (receive(ends->server, text) == 9'000) ASSERT_TRUE(text == std::string(9'000, 'm'));
      });
      ASSERT_TRUE(reader);
      for (int i = 0; i < 20; ++i) ASSERT_EQ(send(ends->client, std::string(9'000, 'm')), 9'000);
      EXPECT_EQ(info_of(ends->client).mss, 1300u - (family == IpFamily::kV4 ? 20 : 40) - 24);
      ASSERT_EQ(ends->client.call(SYS_shutdown, SHUT_WR), 0);
      reader->join();
      EXPECT_TRUE(text.empty());
    }
  });
}

TEST_F(Telex, SharesPortsByTheRules) {
  run([](Stack& stack) {
    const StackFd first = telex_socket(stack);
    const auto name = listen_on(first, "127.0.0.1");
    ASSERT_TRUE(name);
    EXPECT_NE(name->port(), 0);
    const StackFd second = telex_socket(stack);
    EXPECT_EQ(second.call(SYS_bind, name->get(), name->length), -EADDRINUSE);
    ASSERT_EQ(second.set_option(SOL_SOCKET, SO_REUSEADDR, int{1}), 0);
    EXPECT_EQ(second.call(SYS_bind, name->get(), name->length), -EADDRINUSE);
    const SocketAddress any(IpPrefix::parse("0.0.0.0").value(), name->port());
    EXPECT_EQ(second.call(SYS_bind, any.get(), any.length), -EADDRINUSE);
    const SocketAddress other(IpPrefix::parse("127.0.0.2").value(), name->port());
    EXPECT_EQ(second.call(SYS_bind, other.get(), other.length), 0);
    EXPECT_EQ(second.call(SYS_bind, other.get(), other.length), -EINVAL);
    EXPECT_EQ(second.call(SYS_listen, 1), 0);
    // IPv6 has ports of its own.
    const StackFd six = telex_socket(stack, "", IpFamily::kV6);
    const SocketAddress any6(IpPrefix::parse("::").value(), name->port());
    EXPECT_EQ(six.call(SYS_bind, any6.get(), any6.length), 0);
    EXPECT_EQ(six.call(SYS_listen, 1), 0);

    // Who connects reaches the one that has the address.
    StackFd client = telex_socket(stack);
    ASSERT_EQ(client.call(SYS_connect, other.get(), other.length), 0);
    ASSERT_EQ(first.call(SYS_fcntl, F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(first.call(SYS_accept4, nullptr, nullptr, 0), -EAGAIN);
    SocketAddress peer;
    const StackFd server(stack,
                         static_cast<int>(second.call(SYS_accept4, peer.get(), &peer.length, 0)));
    ASSERT_TRUE(server);
    SocketAddress local;
    ASSERT_EQ(client.call(SYS_getsockname, local.get(), &local.length), 0);
    EXPECT_EQ(local.str(), peer.str());
    ASSERT_EQ(client.call(SYS_getpeername, peer.get(), &peer.length), 0);
    EXPECT_EQ(peer.str(), other.str());
  });
}

TEST_F(Telex, KeepsNetworkNamespacesApart) {
  run([](Stack& stack) {
    link(stack);
    const SocketAddress any(IpPrefix::parse("0.0.0.0").value(), 77);
    const StackFd a = telex_socket(stack, kLeft), b = telex_socket(stack, kRight);
    for (const StackFd* one : {&a, &b}) {
      ASSERT_EQ(one->call(SYS_bind, any.get(), any.length), 0);
      ASSERT_EQ(one->call(SYS_listen, 5), 0);
    }
    EXPECT_EQ(listing(stack, "").size(), 0u);
    ASSERT_EQ(listing(stack, kLeft).size(), 1u);
    EXPECT_EQ(listing(stack, kLeft)[0].find("LISTEN 0.0.0.0:77 0.0.0.0:0 "), 0u);

    const StackFd client = telex_socket(stack, kLeft);
    const SocketAddress target(IpPrefix::parse("10.77.0.2").value(), 77);
    ASSERT_EQ(client.call(SYS_connect, target.get(), target.length), 0);
    EXPECT_EQ(listing(stack, kLeft).size(), 2u);
    EXPECT_EQ(listing(stack, kRight).size(), 2u);
    EXPECT_NE(listing(stack, kRight)[1].find("ESTABLISHED 10.77.0.2:77 10.77.0.1:"),
              std::string::npos);
    EXPECT_EQ(listing(stack, "").size(), 0u);

    // The first netns has a socket of the same name: nobody from outside gets to it.
    const StackFd c = telex_socket(stack);
    ASSERT_EQ(c.call(SYS_bind, any.get(), any.length), 0);
    ASSERT_EQ(c.call(SYS_listen, 5), 0);
    EXPECT_EQ(c.call(SYS_fcntl, F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(c.call(SYS_accept4, nullptr, nullptr, 0), -EAGAIN);
    const SocketAddress loopback(IpPrefix::parse("127.0.0.1").value(), 77);
    ASSERT_EQ(telex_socket(stack).call(SYS_connect, loopback.get(), loopback.length), 0);
    EXPECT_GE(c.call(SYS_accept4, nullptr, nullptr, 0), 0);
  });
}

TEST_F(Telex, StaysWhileItHasSocketsAndGoesThen) {
  run([](Stack& stack) {
    link(stack);
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    auto refused = stack.unload("telex");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), EBUSY);
    expect_series(stack, ends->client, ends->server, 10);
    ends->client.reset();
    ends->server.reset();
    ends->listener.reset();
    expect_all_gone(stack);
    EXPECT_TRUE(stack.unload("telex"));
    EXPECT_EQ(stack.syscall(SYS_socket, AF_INET, SOCK_SEQPACKET, IPPROTO_TELEX), -ESOCKTNOSUPPORT);
  });
}

// Many connections at once that end in every way, over a bad link: what is delivered is right.
TEST_F(Telex, EndsInEveryWayUnderAStorm) {
  run([](Stack& stack) {
    link(stack, {.rate = 50'000'000, .delay = 3ms, .jitter = 2ms, .loss = 0.05});
    const StackFd listener = telex_socket(stack, kRight);
    const auto name = listen_on(listener, "10.77.0.2", 5);
    ASSERT_TRUE(name);
    // Messages begin with their number in the connection, from the first on without a gap.
    const auto numbered = [](unsigned n) { return std::to_string(n) + ' ' + message(n); };
    unsigned delivered = 0;
    // A RESET may be lost, and then nobody says anything any more: there is no keepalive.
    const timeval patience{.tv_sec = 100, .tv_usec = 0};
    const auto serve = [&](StackFd socket, unsigned seed) {
      std::mt19937 random(seed);
      const unsigned most = random() % 60;
      std::string text;
      ASSERT_EQ(socket.set_option(SOL_SOCKET, SO_RCVTIMEO, patience), 0);
      for (unsigned n = 0; n < most; ++n) {
        if (receive(socket, text) <= 0) break;
        ASSERT_TRUE(text == numbered(n)) << n;
        ++delivered;
        if (random() % 4 == 0 && send(socket, text) < 0) break;
      }
      if (random() % 3 == 0) socket.call(SYS_shutdown, static_cast<int>(random() % 3));
    };
    std::vector<Fiber> fibers;
    auto acceptor = stack.spawn("acceptor", [&] {
      for (unsigned i = 0;; ++i) {
        const long fd = listener.call(SYS_accept4, nullptr, nullptr, 0);
        if (fd < 0) break;
        auto fiber =
            stack.spawn("server", [&, i, fd] { serve(StackFd(stack, static_cast<int>(fd)), i); });
        ASSERT_TRUE(fiber);
        fibers.push_back(std::move(*fiber));
      }
    });
    ASSERT_TRUE(acceptor);
    std::vector<Fiber> clients;
    for (unsigned c = 0; c < 20; ++c) {
      auto fiber = stack.spawn("client", [&, c] {
        std::mt19937 random(1000 + c);
        for (int round = 0; round < 30; ++round) {
          const StackFd socket = telex_socket(stack, kLeft);
          ASSERT_EQ(socket.set_option(SOL_SOCKET, SO_RCVTIMEO, patience), 0);
          if (random() % 8 == 0) socket.call(SYS_fcntl, F_SETFL, O_NONBLOCK);
          if (socket.call(SYS_connect, name->get(), name->length) < 0) continue;
          const unsigned most = random() % 60;
          std::string text;
          for (unsigned n = 0; n < most; ++n) {
            if (send(socket, numbered(n)) < 0) break;
            if (random() % 8 == 0) receive(socket, text, TELEX_MAX_MESSAGE, MSG_DONTWAIT);
          }
          const unsigned way = random() % 4;
          const linger at_once{.l_onoff = 1, .l_linger = 0};
          if (way == 0) socket.set_option(SOL_SOCKET, SO_LINGER, at_once);
          if (way == 1) socket.call(SYS_shutdown, SHUT_WR);
          if (way == 1)
            while (receive(socket, text) > 0) {
            }
          if (way == 2) stack.sleep_for(std::chrono::milliseconds(random() % 50));
        }
      });
      ASSERT_TRUE(fiber);
      clients.push_back(std::move(*fiber));
    }
    for (Fiber& client : clients) client.join();
    acceptor->interrupt();
    acceptor->join();
    for (Fiber& fiber : fibers) fiber.join();
    EXPECT_GT(delivered, 2'000u);
    // Orphans whose peer is gone too, by the retransmissions of a minute or two at most.
    const StackTime deadline = stack.now() + 300s;
    while (listing(stack, kLeft).size() + listing(stack, kRight).size() > 1 &&
           stack.now() < deadline)
      stack.sleep_for(1s);
    EXPECT_EQ(listing(stack, kLeft).size(), 0u);
    EXPECT_EQ(listing(stack, kRight).size(), 1u) << "the listener";
  });
}

// Closed, with messages that cannot be delivered, in namespaces that have no name any more.
TEST_F(Telex, GivesUpOrphansAndLetsTheirNamespacesGo) {
  run([](Stack& stack) {
    link(stack);
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    auto net = Rtnl::open(stack, kRight);
    ASSERT_TRUE(net);
    ASSERT_TRUE(net->qdisc_netem("link0", {.loss = 1}));
    for (const StackFd* end : {&ends->client, &ends->server})
      while (send(*end, std::string(5'000, 'x'), MSG_DONTWAIT) > 0) {
      }
    net = fail(0, "closed");
    ends->client.reset();
    for (const char* name : {kLeft, kRight}) ASSERT_TRUE(stack.netns_del(name));
    ends->server.reset();
    ends->listener.reset();
    stack.sleep_for(1s);
    EXPECT_FALSE(stack.unload("telex")) << "it still tries";
    const StackTime deadline = stack.now() + 300s;
    while (!stack.unload("telex") && stack.now() < deadline) stack.sleep_for(1s);
    EXPECT_LT(stack.now(), deadline);
    stack.sleep_for(10s);
  });
}

TEST_F(Telex, LeaksNothingOverAThousandConnections) {
  run([](Stack& stack) {
    link(stack, {.delay = 1ms});
    const auto field = [&](const std::string& path, const std::string& name, int column) {
      std::istringstream in(stack.read_file(path).value());
      for (std::string line; std::getline(in, line);) {
        std::istringstream words(line);
        std::string word;
        words >> word;
        if (word != name) continue;
        for (int i = 0; i < column; ++i) words >> word;
        return std::stol(word);
      }
      ADD_FAILURE() << path << " has no " << name;
      return -1L;
    };
    const auto round = [&] {
      const StackFd listener = telex_socket(stack, kRight);
      const auto name = listen_on(listener, "10.77.0.2", 100);
      ASSERT_TRUE(name);
      for (int i = 0; i < 1000; ++i) {
        StackFd client = telex_socket(stack, kLeft);
        ASSERT_EQ(client.call(SYS_connect, name->get(), name->length), 0) << i;
        StackFd server(stack, static_cast<int>(listener.call(SYS_accept4, nullptr, nullptr, 0)));
        ASSERT_TRUE(server);
        std::string text;
        ASSERT_EQ(send(client, "hello"), 5);
        ASSERT_EQ(receive(server, text), 5);
        if (i % 5 == 0) {
          EXPECT_EQ(send(client, "not read"), 8);
        }
        (i % 2 != 0 ? client : server).reset();
      }
    };
    round();
    expect_all_gone(stack);
    const long before = field("/proc/meminfo", "MemFree:", 1);
    round();
    expect_all_gone(stack);
    EXPECT_EQ(listing(stack, kLeft).size() + listing(stack, kRight).size(), 0u);
    EXPECT_EQ(field("/proc/net/protocols", "TELEX", 2), 0);
    EXPECT_EQ(field("/proc/net/protocols", "TELEXv6", 2), 0);
    // 1,000 leaked sockets would be more than 2 MB; the slabs keep some pages of their own.
    EXPECT_GT(field("/proc/meminfo", "MemFree:", 1), before - 500) << "KB";
    EXPECT_TRUE(stack.unload("telex"));
  });
}

/// A packet of the protocol, checksum and all, as an IPv4 raw socket sends it.
std::string packet(std::uint16_t source, std::uint16_t dest, std::uint32_t seq, std::uint32_t ack,
                   std::uint8_t type, std::uint8_t flags, const std::string& payload) {
  std::string bytes(24, '\0');
  const auto put = [&](std::size_t at, std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i)
      bytes[at + static_cast<std::size_t>(i)] = static_cast<char>(value >> (8 * (size - 1 - i)));
  };
  put(0, source, 2);
  put(2, dest, 2);
  put(4, seq, 4);
  put(8, ack, 4);
  put(16, 10, 2);
  put(18, type, 1);
  put(19, flags, 1);
  bytes += payload;
  // 10.77.0.1 to 10.77.0.2
  std::uint32_t sum = 0x0a4d + 0x0001 + 0x0a4d + 0x0002 + IPPROTO_TELEX + bytes.size();
  for (std::size_t i = 0; i < bytes.size(); i += 2)
    sum += (std::uint32_t(std::uint8_t(bytes[i])) << 8) |
           (i + 1 < bytes.size() ? std::uint8_t(bytes[i + 1]) : 0U);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  put(20, ~sum & 0xffff, 2);
  return bytes;
}

class TelexForged : public Telex {
 protected:
  static StackFd raw(Stack& stack, const char* netns = kLeft) {
    auto socket = socket_in(stack, netns, AF_INET, SOCK_RAW, IPPROTO_TELEX);
    EXPECT_TRUE(socket) << socket.error().message();
    return std::move(*socket);
  }
  static void inject(const StackFd& raw, const std::string& bytes) {
    const SocketAddress target(IpPrefix::parse("10.77.0.2").value(), 0);
    EXPECT_EQ(
        raw.call(SYS_sendto, bytes.data(), bytes.size(), MSG_DONTWAIT, target.get(), target.length),
        long(bytes.size()));
  }
  static std::uint16_t port_of(const StackFd& socket) {
    SocketAddress name;
    EXPECT_EQ(socket.call(SYS_getsockname, name.get(), &name.length), 0);
    return name.port();
  }
};

TEST_F(TelexForged, OpensTakeNoMemory) {
  run([](Stack& stack) {
    link(stack);
    const StackFd listener = telex_socket(stack, kRight), sender = raw(stack);
    ASSERT_TRUE(listen_on(listener, "10.77.0.2", 100));
    const std::uint16_t port = port_of(listener);
    for (unsigned i = 0; i < 5000; ++i) inject(sender, packet(1000 + i, port, i, 0, 1, 0, ""));
    EXPECT_EQ(listing(stack, kRight).size(), 1u);
    // Nor do those who guess the cookie.
    for (unsigned i = 0; i < 5000; ++i) inject(sender, packet(1000 + i, port, i, i, 3, 0, ""));
    EXPECT_EQ(listing(stack, kRight).size(), 1u);
    const StackFd client = telex_socket(stack, kLeft);
    const SocketAddress target(IpPrefix::parse("10.77.0.2").value(), port);
    EXPECT_EQ(client.call(SYS_connect, target.get(), target.length), 0);
  });
}

TEST_F(TelexForged, PacketsAtRandomHarmNoConnection) {
  run([](Stack& stack) {
    link(stack, {.delay = 1ms});
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    const StackFd sender = raw(stack);
    const std::uint16_t from = port_of(ends->client), to = port_of(ends->server);
    auto forger = stack.spawn("forger", [&] {
      std::mt19937 random(7);
      for (int i = 0; i < 20'000; ++i) {
        std::string bytes =
            packet(i % 3 == 0 ? std::uint16_t(random()) : from, to, random(), random(),
                   static_cast<std::uint8_t>(random() % 10), static_cast<std::uint8_t>(random()),
                   std::string(random() % 40, 'f'));
        if (i % 4 == 0) bytes[random() % bytes.size()] ^= 1;  // a wrong checksum
        if (i % 50 == 0) bytes.resize(random() % 24 + 1);
        inject(sender, bytes);
        if (i % 100 == 0) stack.sleep_for(1ms);
      }
    });
    ASSERT_TRUE(forger);
    expect_series(stack, ends->client, ends->server, 500);
    forger->join();
    expect_series(stack, ends->server, ends->client, 50);
  });
}

// What a broken peer could do: messages that never end.
TEST_F(TelexForged, AMessageWithoutEndEndsTheConnection) {
  run([](Stack& stack) {
    link(stack);
    const StackFd listener_sees = raw(stack, kRight), peer = raw(stack);
    auto ends = connect_ends(stack);
    ASSERT_TRUE(ends);
    // The numbers of the client, from its CONFIRM; the first packet is its OPEN.
    std::uint32_t numbers[2]{};
    for (int i = 0; i < 2; ++i) {
      char bytes[200];
      ASSERT_EQ(listener_sees.call(SYS_recvfrom, bytes, sizeof bytes, 0, nullptr, nullptr), 44);
      std::memcpy(numbers, bytes + 20 + 4, sizeof numbers);
    }
    for (std::uint32_t i = 0; i < 70; ++i)
      inject(peer, packet(port_of(ends->client), port_of(ends->server), ntohl(numbers[0]) + 1 + i,
                          ntohl(numbers[1]), 4, 0, std::string(1000, 'm')));
    std::string text;
    EXPECT_EQ(receive(ends->server, text), -EPROTO);
  });
}

}  // namespace
}  // namespace lkm
