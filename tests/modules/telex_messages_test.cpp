// SPDX-License-Identifier: GPL-2.0
//
// modules/telex: what becomes of messages, by the ordinary socket API, over emulated links.
#include <cstring>

#include "tests/modules/telex_test.hpp"

namespace lkm {
namespace {

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

}  // namespace
}  // namespace lkm
