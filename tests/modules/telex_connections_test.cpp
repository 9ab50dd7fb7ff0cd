// SPDX-License-Identifier: GPL-2.0
//
// modules/telex: how connections begin and end, and what is left of them.
#include "tests/modules/telex_test.hpp"

namespace lkm {
namespace {

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

}  // namespace
}  // namespace lkm
