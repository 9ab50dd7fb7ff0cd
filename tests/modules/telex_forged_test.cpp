// SPDX-License-Identifier: GPL-2.0
//
// modules/telex: packets that no peer would send.
#include <cstring>

#include "tests/modules/telex_test.hpp"

namespace lkm {
namespace {

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
