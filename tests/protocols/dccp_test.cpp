// SPDX-License-Identifier: GPL-2.0
#include <linux/dccp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr int kSolDccp = 269;  // SOL_DCCP of linux/socket.h, which uapi does not have

class Dccp : public StackTest {
 protected:
  // Both ends must name the same service (RFC 4340, 8.1.2).
  static std::optional<SocketPair> connect(Stack& stack, const std::string& address) {
    return connect_sockets(stack, address, SOCK_DCCP, IPPROTO_DCCP, [](StackFd& socket) {
      succeeds(socket.set_option(kSolDccp, DCCP_SOCKOPT_SERVICE, htonl(42)), "service code");
    });
  }
  static void load(Stack& stack) {
    for (const char* name : {"dccp_ipv4", "dccp_ipv6"}) {
      const auto module = stack.load(name);
      ASSERT_TRUE(module) << module.error().message();
    }
  }
};

TEST_F(Dccp, EchoesInBothFamilies) {
  boot([](Stack& stack) {
    load(stack);
    for (const char* address : {"127.0.0.1", "::1"}) {
      const auto pair = connect(stack, address);
      ASSERT_TRUE(pair) << address;
      expect_delivers(pair->client, pair->server, "a datagram with congestion control");
      expect_delivers(pair->server, pair->client, "and its answer");
    }
  });
}

// DCCP may lose datagrams, and does when a receiver's queue is full: bursts stay below it. It
// refuses a datagram at once when too many wait for the congestion control (net/dccp/proto.c).
TEST_F(Dccp, KeepsOrderAndContentOfABulkOfDatagrams) {
  boot([](Stack& stack) {
    load(stack);
    const auto pair = connect(stack, "127.0.0.1");
    ASSERT_TRUE(pair);
    VerifiedStream stream(1);
    std::vector<std::byte> buffer(2048);
    for (int round = 0; round < 200; ++round) {
      for (int burst = 0; burst < 5; ++burst) {
        const auto bytes = stream.outgoing(1024);
        long sent = -EAGAIN;
        while ((sent = pair->client.call(SYS_sendto, bytes.data(), bytes.size(), 0, nullptr, 0)) ==
               -EAGAIN)
          stack.sleep_for(100us);
        ASSERT_TRUE(succeeds(sent, "send"));
        stream.sent(static_cast<std::size_t>(sent));
      }
      while (stream.bytes_received() < stream.bytes_sent()) {
        const long got =
            pair->server.call(SYS_recvfrom, buffer.data(), buffer.size(), 0, nullptr, nullptr);
        ASSERT_GT(got, 0);
        stream.received(std::span(buffer).first(static_cast<std::size_t>(got)));
      }
    }
    EXPECT_TRUE(stream.intact());
  });
}

}  // namespace
}  // namespace lkm
