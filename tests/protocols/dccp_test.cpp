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

// A send that finds the queue full is refused at once (net/dccp/proto.c), whatever the socket's
// mode; over loopback nothing is lost, so all that was taken arrives, and in order.
TEST_F(Dccp, DeliversABulkOfDatagrams) {
  boot([](Stack& stack) {
    load(stack);
    const auto pair = connect(stack, "127.0.0.1");
    ASSERT_TRUE(pair);
    constexpr std::uint64_t kBytes = 1 << 20;
    VerifiedStream stream(1);
    auto sender = stack.spawn("sender", [&] {
      const StackTime deadline = stack.now() + 20s;
      while (stream.bytes_sent() < kBytes && stack.now() < deadline) {
        const auto bytes = stream.outgoing(1024);
        const long sent = pair->client.call(SYS_sendto, bytes.data(), bytes.size(), 0, nullptr, 0);
        if (sent == -EAGAIN)
          stack.sleep_for(100us);
        else if (!succeeds(sent, "send"))
          break;
        else
          stream.sent(static_cast<std::size_t>(sent));
      }
      pair->client.call(SYS_shutdown, SHUT_WR);
    });
    ASSERT_TRUE(sender) << sender.error().message();
    std::vector<std::byte> buffer(2048);
    for (;;) {
      const long got =
          pair->server.call(SYS_recvfrom, buffer.data(), buffer.size(), 0, nullptr, nullptr);
      if (got <= 0) break;
      stream.received(std::span(buffer).first(static_cast<std::size_t>(got)));
      if (stream.bytes_received() == kBytes) break;
    }
    sender->join();
    EXPECT_EQ(stream.bytes_verified(), kBytes);
    EXPECT_TRUE(stream.intact());
  });
}

}  // namespace
}  // namespace lkm
