// SPDX-License-Identifier: GPL-2.0
//
// What the tests of modules/telex share: sockets, messages that can be told apart, the listing.
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "modules/telex/telex_user.h"
#include "tests/modules/module_test.hpp"
#include "tests/protocols/stack_test.hpp"
#include "toolkit/net/links.hpp"

namespace lkm {

using namespace std::chrono_literals;

inline constexpr const char* kLeft = "left";
inline constexpr const char* kRight = "right";

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

inline StackFd telex_socket(Stack& stack, const std::string& netns = "",
                            IpFamily family = IpFamily::kV4) {
  auto socket = socket_in(stack, netns, static_cast<int>(family), SOCK_SEQPACKET, IPPROTO_TELEX);
  EXPECT_TRUE(socket) << socket.error().message();
  return socket ? std::move(*socket) : StackFd();
}

inline telex_info info_of(const StackFd& socket) {
  telex_info info{};
  socklen_t length = sizeof info;
  EXPECT_EQ(socket.call(SYS_getsockopt, SOL_TELEX, TELEX_INFO, &info, &length), 0);
  EXPECT_EQ(length, sizeof info);
  return info;
}

inline long send(const StackFd& socket, std::string_view text, int flags = 0) {
  return socket.call(SYS_sendto, text.data(), text.size(), flags | MSG_NOSIGNAL, nullptr, 0);
}

inline long receive(const StackFd& socket, std::string& text, std::size_t room = TELEX_MAX_MESSAGE,
                    int flags = 0) {
  text.resize(room);
  const long got = socket.call(SYS_recvfrom, text.data(), room, flags, nullptr, nullptr);
  text.resize(got > 0 ? std::min<std::size_t>(room, static_cast<std::size_t>(got)) : 0);
  return got;
}

/// Message number `n` of a series: of any size, and no two alike.
inline std::string message(unsigned n) {
  std::mt19937 random(n);
  std::string text(n % 7 == 3 ? random() % 20'000 : random() % 2'000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

inline void link(Stack& stack, LinkSpec spec = {}) {
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

inline std::optional<SocketAddress> listen_on(const StackFd& listener, const std::string& address,
                                              int backlog = 1) {
  const auto name = bind_any(listener, address);
  if (!name || !succeeds(listener.call(SYS_listen, backlog), "listen")) return {};
  return name;
}

inline std::optional<Ends> connect_ends(Stack& stack, IpFamily family = IpFamily::kV4) {
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
inline void expect_series(Stack& stack, const StackFd& from, const StackFd& to, unsigned count) {
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
inline std::vector<std::string> listing(Stack& stack, const std::string& netns) {
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
inline void expect_all_gone(Stack& stack) {
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

}  // namespace lkm
