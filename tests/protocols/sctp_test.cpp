// SPDX-License-Identifier: GPL-2.0
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

// SCTP is a module: it comes into the stack as a plugin.
class Sctp : public StackTest {
 protected:
  static void load(Stack& stack) {
    const auto module = stack.load("sctp");
    ASSERT_TRUE(module) << module.error().message();
    EXPECT_EQ(module->state, "live");
  }
};

TEST_F(Sctp, CarriesBulkAndRequestsInBothFamilies) {
  boot([](Stack& stack) {
    load(stack);
    for (const IpFamily family : {IpFamily::kV4, IpFamily::kV6}) {
      const Route route{.transport = Transport::kSctp, .family = family};
      expect_intact(stack, {.route = route, .bytes = 8 << 20});
      expect_intact(stack, {.kind = FlowKind::kRequests, .route = route, .requests = 50});
    }
  });
}

TEST_F(Sctp, KeepsTheBoundsOfMessages) {
  boot([](Stack& stack) {
    load(stack);
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, IPPROTO_SCTP);
    ASSERT_TRUE(pair);
    for (const std::string text : {"one", "and two"})
      ASSERT_EQ(pair->client.call(SYS_sendto, text.data(), text.size(), 0, nullptr, 0),
                long(text.size()));
    char buffer[100];
    EXPECT_EQ(pair->server.call(SYS_recvfrom, buffer, sizeof buffer, 0, nullptr, nullptr), 3);
    EXPECT_EQ(pair->server.call(SYS_recvfrom, buffer, sizeof buffer, 0, nullptr, nullptr), 7);
  });
}

// Its own control socket (sctp_ctrlsock_init()) holds two references for good, on any kernel.
TEST_F(Sctp, StaysWhenItIsToBeUnloaded) {
  boot([](Stack& stack) {
    load(stack);
    const auto refused = stack.unload("sctp");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().errno_value(), EBUSY);
    const Route route{.transport = Transport::kSctp};
    expect_intact(stack, {.route = route, .bytes = 1 << 20});
  });
}

TEST_F(Sctp, ComesByItselfWhenASocketAsksForIt) {
  boot([](Stack& stack) {
    EXPECT_TRUE(open_socket(stack, AF_INET, SOCK_STREAM, IPPROTO_SCTP));
    const auto modules = stack.modules();
    ASSERT_TRUE(modules) << modules.error().message();
    EXPECT_TRUE(std::ranges::any_of(*modules, [](const auto& one) { return one.name == "sctp"; }));
  });
}

}  // namespace
}  // namespace lkm
