// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/flows.hpp"

#include "tests/protocols/stack_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class FlowsOfAStack : public StackTest {};

TEST_F(FlowsOfAStack, AreNumberedAndListedUntilTheyAreStopped) {
  boot([](Stack& stack) {
    Flows flows(stack);
    const auto first = flows.start({.bytes = 1000});
    const auto second = flows.start({});
    ASSERT_TRUE(first && second);
    EXPECT_NE(first->id, second->id);
    const auto ended = flows.wait(first->id, stack.now() + 5s);
    ASSERT_TRUE(ended) << ended.error().message();
    EXPECT_EQ(ended->bytes_verified, 1000u);
    EXPECT_EQ(flows.list().size(), 2u);
    const auto stopped = flows.stop(second->id);
    ASSERT_TRUE(stopped) << stopped.error().message();
    EXPECT_EQ(stopped->state, FlowState::kDone) << stopped->error;
    EXPECT_EQ(flows.list().size(), 1u);
    EXPECT_EQ(flows.stop(second->id).error().errno_value(), ENOENT);
  });
}

TEST_F(FlowsOfAStack, TellThatTheyStillRun) {
  boot([](Stack& stack) {
    Flows flows(stack);
    const auto flow = flows.start({.kind = FlowKind::kRequests, .interval = 1ms});
    ASSERT_TRUE(flow) << flow.error().message();
    EXPECT_EQ(flows.wait(flow->id, stack.now() + 20ms).error().errno_value(), ETIMEDOUT);
    const auto running = flows.report(flow->id);
    ASSERT_TRUE(running);
    EXPECT_EQ(running->state, FlowState::kRunning);
    EXPECT_GT(running->requests, 0u);
    ASSERT_TRUE(running->tcp);
    EXPECT_EQ(running->tcp->state, "ESTABLISHED");
    EXPECT_TRUE(flows.stop(flow->id));
  });
}

TEST_F(FlowsOfAStack, EndAPauseBetweenRequestsWhenStopped) {
  boot([](Stack& stack) {
    Flows flows(stack);
    const auto flow = flows.start({.kind = FlowKind::kRequests, .interval = 1h});
    ASSERT_TRUE(flow) << flow.error().message();
    while (flows.report(flow->id)->requests == 0) stack.sleep_for(1ms);
    const auto stopped = flows.stop(flow->id, 5s);
    ASSERT_TRUE(stopped) << stopped.error().message();
    EXPECT_EQ(stopped->state, FlowState::kDone) << stopped->error;
    EXPECT_EQ(stopped->requests, 1u);
  });
}

TEST_F(FlowsOfAStack, RefuseWhatMakesNoSense) {
  boot([](Stack& stack) {
    Flows flows(stack);
    EXPECT_EQ(flows.start({.kind = FlowKind::kRequests, .request_bytes = 0}).error().errno_value(),
              EINVAL);
    const auto control = flows.start({.route = {.control = "nonesuch"}});
    ASSERT_FALSE(control);
    EXPECT_EQ(control.error().errno_value(), ENOENT);
    EXPECT_NE(control.error().what().find("nonesuch"), std::string::npos);
    EXPECT_NE(control.error().hint(), "");
    EXPECT_EQ(flows.start({.route = {.server = "nowhere"}}).error().errno_value(), ENOENT);
    EXPECT_TRUE(flows.list().empty());
  });
}

TEST_F(FlowsOfAStack, ShowTheirNetnsInProc) {
  boot([](Stack& stack) {
    ASSERT_TRUE(stack.netns_add("alone"));
    const auto flow = Flow::start(stack, {.route = {.client = "alone", .server = "alone"}});
    ASSERT_TRUE(flow) << flow.error().message();
    while ((*flow)->report().bytes_received == 0) stack.sleep_for(1ms);
    const FlowReport report = (*flow)->report();
    const auto sockets = stack.read_file(fmt::format("/proc/{}/net/tcp", report.client_pid));
    ASSERT_TRUE(sockets) << sockets.error().message();
    EXPECT_NE(sockets->find("0100007F:"), std::string::npos) << *sockets;
    const auto elsewhere = stack.read_file("/proc/net/tcp");
    ASSERT_TRUE(elsewhere) << elsewhere.error().message();
    EXPECT_EQ(elsewhere->find("0100007F:"), std::string::npos) << *elsewhere;
    (*flow)->stop();
    EXPECT_TRUE((*flow)->wait(stack.now() + 5s));
  });
}

}  // namespace
}  // namespace lkm
