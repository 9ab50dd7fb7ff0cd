// SPDX-License-Identifier: GPL-2.0
#include <linux/mptcp.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kBulk = 64 << 20;  // bytes

class Tcp : public StackTest {};

TEST_F(Tcp, CarriesBulkOverLoopbackInBothFamilies) {
  boot([](Stack& stack) {
    expect_intact(stack, {.bytes = kBulk});
    expect_intact(stack, {.route = {.family = IpFamily::kV6}, .bytes = kBulk});
  });
}

TEST_F(Tcp, AnswersRequestsOfAnySize) {
  boot([](Stack& stack) {
    for (const std::uint64_t size : {1u, 1000u, 1'000'000u}) {
      const FlowReport report = expect_intact(stack, {.kind = FlowKind::kRequests,
                                                      .requests = 20,
                                                      .request_bytes = size,
                                                      .response_bytes = 2 * size});
      EXPECT_EQ(report.requests, 20u);
      EXPECT_EQ(report.bytes_verified, 20 * 3 * size);
    }
  });
}

TEST_F(Tcp, UsesTheCongestionControlItIsTold) {
  boot([](Stack& stack) {
    for (const char* control : {"cubic", "reno"}) {
      const FlowReport report =
          expect_intact(stack, {.route = {.control = control}, .bytes = 1 << 20});
      EXPECT_EQ(report.client_control, control);
      EXPECT_EQ(report.server_control, control);
    }
  });
}

TEST_F(Tcp, RefusesAConnectionToAClosedPort) {
  boot([](Stack& stack) {
    const StackFd client = open_socket(stack, AF_INET, SOCK_STREAM);
    const SocketAddress nobody(IpPrefix::parse("127.0.0.1").value(), 9);
    EXPECT_EQ(client.call(SYS_connect, nobody.get(), nobody.length), -ECONNREFUSED);
  });
}

TEST_F(Tcp, KeepsOneDirectionOpenAfterAHalfClose) {
  boot([](Stack& stack) {
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, 0);
    ASSERT_TRUE(pair);
    expect_delivers(pair->client, pair->server, "last words");
    ASSERT_EQ(pair->client.call(SYS_shutdown, SHUT_WR), 0);
    char byte = 0;
    EXPECT_EQ(pair->server.call(SYS_recvfrom, &byte, 1, 0, nullptr, nullptr), 0);
    expect_delivers(pair->server, pair->client, "the answer to them");
  });
}

TEST_F(Tcp, RunsManyFlowsAtOnce) {
  boot([](Stack& stack) {
    std::vector<std::shared_ptr<Flow>> flows;
    for (unsigned i = 0; i < 50; ++i) {
      auto flow = Flow::start(stack, {.bytes = 1 << 20, .seed = i});
      ASSERT_TRUE(flow) << flow.error().message();
      flows.push_back(std::move(*flow));
    }
    for (const auto& flow : flows) {
      EXPECT_TRUE(flow->wait(stack.now() + 20s));
      EXPECT_EQ(flow->report().state, FlowState::kDone) << flow->report().error;
    }
  });
}

TEST_F(Tcp, StopsAnEndlessFlowWithoutLosingItsTail) {
  boot([](Stack& stack) {
    auto flow = Flow::start(stack, {});
    ASSERT_TRUE(flow) << flow.error().message();
    while ((*flow)->report().bytes_received < kBulk) stack.sleep_for(1ms);
    (*flow)->stop();
    EXPECT_TRUE((*flow)->wait(stack.now() + 10s));
    const FlowReport report = (*flow)->report();
    EXPECT_EQ(report.state, FlowState::kDone) << report.error;
    EXPECT_GE(report.bytes_verified, kBulk);
  });
}

class Mptcp : public StackTest {};

TEST_F(Mptcp, CarriesBulkAndRequestsInBothFamilies) {
  boot([](Stack& stack) {
    for (const IpFamily family : {IpFamily::kV4, IpFamily::kV6}) {
      const Route route{.transport = Transport::kMptcp, .family = family};
      expect_intact(stack, {.route = route, .bytes = kBulk / 4});
      expect_intact(stack, {.kind = FlowKind::kRequests, .route = route, .requests = 50});
    }
  });
}

TEST_F(Mptcp, DoesNotFallBackToPlainTcp) {
  boot([](Stack& stack) {
    constexpr int kProtocol = 262;  // IPPROTO_MPTCP
    const auto pair = connect_sockets(stack, "127.0.0.1", SOCK_STREAM, kProtocol);
    ASSERT_TRUE(pair);
    expect_delivers(pair->client, pair->server, "first bytes confirm the connection");
    mptcp_info info{};
    socklen_t length = sizeof info;
    ASSERT_TRUE(succeeds(pair->client.call(SYS_getsockopt, SOL_MPTCP, MPTCP_INFO, &info, &length),
                         "MPTCP_INFO"));
    EXPECT_FALSE(info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK);
    EXPECT_TRUE(info.mptcpi_flags & MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED);
  });
}

}  // namespace
}  // namespace lkm
