// SPDX-License-Identifier: GPL-2.0
//
// StackTest: a test whose body runs on a fiber of a freshly booted stack.
//
//   TEST_F(StackTest, SaysSomething) {
//     boot([](Stack& stack) {
//       const StackFd socket = open_socket(stack, AF_INET, SOCK_DGRAM);
//       ASSERT_TRUE(socket);
//     });
//   }
//
// The library comes from $LKM_RUN_IMAGE (what Kbuild/kernel prints); without it the test is
// skipped. A kernel log with a warning, a BUG or an oops fails the test.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/flow/flow.hpp"
#include "toolkit/net/ip.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {

class StackTest : public ::testing::Test {
 protected:
  /// In virtual time a test of delays takes no time, and comes out the same on a loaded machine.
  void boot(const std::function<void(Stack&)>& body, Clock clock = Clock::kReal, std::uint64_t seed = 1);
};

/// A socket in the netns of the calling fiber; a failed test and an empty one on an error.
StackFd open_socket(Stack& stack, int family, int type, int protocol = 0);

/// Fails the test with `what` and the error's name when `result` is a -errno. True when it is not.
bool succeeds(long result, const std::string& what);

/// Binds to `address` and any port; gives the full name back.
std::optional<SocketAddress> bind_any(const StackFd& socket, const std::string& address);

/// Listens on `address`, connects `client` to it and accepts. Both sockets are new.
struct SocketPair {
  StackFd client;
  StackFd server;
};
std::optional<SocketPair> connect_sockets(Stack& stack, const std::string& address, int type,
                                          int protocol,
                                          const std::function<void(StackFd&)>& prepare = {});

/// Sends `text` on the one and receives it on the other.
void expect_delivers(const StackFd& from, const StackFd& to, const std::string& text);

/// Runs a flow to its end and expects every byte to be verified.
FlowReport expect_intact(Stack& stack, const FlowSpec& spec);

}  // namespace lkm
