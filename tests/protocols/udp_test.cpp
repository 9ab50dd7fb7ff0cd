// SPDX-License-Identifier: GPL-2.0
#include <sys/socket.h>

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

class Udp : public StackTest {};

// The echo names its sender, so both directions carry addresses.
void expect_echo(Stack& stack, int family, const std::string& address, std::size_t size) {
  const StackFd client = open_socket(stack, family, SOCK_DGRAM);
  const StackFd server = open_socket(stack, family, SOCK_DGRAM);
  const auto name = bind_any(server, address);
  ASSERT_TRUE(name);
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 7 + i / 256);
  ASSERT_EQ(client.call(SYS_sendto, out.data(), size, 0, name->get(), name->length), long(size));
  std::string got(size + 1, '\0');
  SocketAddress from;
  ASSERT_EQ(server.call(SYS_recvfrom, got.data(), got.size(), 0, from.get(), &from.length),
            long(size));
  ASSERT_EQ(server.call(SYS_sendto, got.data(), size, 0, from.get(), from.length), long(size));
  got.assign(size + 1, '\0');
  ASSERT_EQ(client.call(SYS_recvfrom, got.data(), got.size(), 0, nullptr, nullptr), long(size));
  got.resize(size);
  EXPECT_TRUE(got == out) << size << " bytes to " << address;
}

TEST_F(Udp, EchoesDatagramsFromOneByteToTheLargest) {
  boot([](Stack& stack) {
    for (const std::size_t size : {1u, 1472u, 1473u, 9000u, 65'507u}) {  // the last are fragmented
      expect_echo(stack, AF_INET, "127.0.0.1", size);
      expect_echo(stack, AF_INET6, "::1", size);
    }
  });
}

TEST_F(Udp, RefusesADatagramThatIsTooLong) {
  boot([](Stack& stack) {
    const StackFd socket = open_socket(stack, AF_INET, SOCK_DGRAM);
    const auto name = bind_any(socket, "127.0.0.1");
    ASSERT_TRUE(name);
    const std::string out(65'508, 'x');
    EXPECT_EQ(socket.call(SYS_sendto, out.data(), out.size(), 0, name->get(), name->length),
              -EMSGSIZE);
  });
}

TEST_F(Udp, ReportsThatNobodyListens) {
  boot([](Stack& stack) {
    const StackFd socket = open_socket(stack, AF_INET, SOCK_DGRAM);
    const SocketAddress nobody(IpPrefix::parse("127.0.0.1").value(), 9);
    ASSERT_EQ(socket.call(SYS_connect, nobody.get(), nobody.length), 0);
    ASSERT_EQ(socket.call(SYS_sendto, "x", 1, 0, nullptr, 0), 1);
    char byte = 0;
    EXPECT_EQ(socket.call(SYS_recvfrom, &byte, 1, 0, nullptr, nullptr), -ECONNREFUSED);
  });
}

TEST_F(Udp, KeepsOrderAndContentOfABulkOfDatagrams) {
  boot([](Stack& stack) {
    const StackFd client = open_socket(stack, AF_INET, SOCK_DGRAM);
    const StackFd server = open_socket(stack, AF_INET, SOCK_DGRAM);
    const auto name = bind_any(server, "127.0.0.1");
    ASSERT_TRUE(name);
    VerifiedStream stream(1);
    std::vector<std::byte> buffer(2000);
    for (int round = 0; round < 200; ++round) {
      for (int burst = 0; burst < 20; ++burst) {  // stays below the receive buffer
        const auto bytes = stream.outgoing(1000);
        ASSERT_EQ(client.call(SYS_sendto, bytes.data(), bytes.size(), 0, name->get(), name->length),
                  long(bytes.size()));
        stream.sent(bytes.size());
      }
      while (stream.bytes_received() < stream.bytes_sent()) {
        const long got =
            server.call(SYS_recvfrom, buffer.data(), buffer.size(), 0, nullptr, nullptr);
        ASSERT_TRUE(succeeds(got, "receive"));
        stream.received(std::span(buffer).first(static_cast<std::size_t>(got)));
      }
    }
    EXPECT_TRUE(stream.intact());
  });
}

}  // namespace
}  // namespace lkm
