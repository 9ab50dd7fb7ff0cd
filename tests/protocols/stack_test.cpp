// SPDX-License-Identifier: GPL-2.0
#include "tests/protocols/stack_test.hpp"

#include <sys/socket.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <regex>

namespace lkm {

using namespace std::chrono_literals;

void StackTest::boot(const std::function<void(Stack&)>& body, Clock clock, std::uint64_t seed) {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
  const std::filesystem::path folder(image);
  std::string log;
  const auto result = Stack::run({.library = folder / "libos.so",
                                  .module_path = {folder / "modules"},
                                  .clock = clock,
                                  .seed = seed,
                                  .console = [&](std::string_view text) { log += text; }},
                                 [&](Stack& stack) {
                                   body(stack);
                                   return 0;
                                 });
  EXPECT_TRUE(result) << result.error().message() << "\n" << log;
  EXPECT_FALSE(std::regex_search(log, std::regex("WARNING:|BUG:|Oops|Call Trace"))) << log;
}

bool succeeds(long result, const std::string& what) {
  EXPECT_GE(result, 0) << what << ": " << std::strerror(static_cast<int>(-result));
  return result >= 0;
}

StackFd open_socket(Stack& stack, int family, int type, int protocol) {
  const long fd = stack.syscall(SYS_socket, family, type, protocol);
  return succeeds(fd, "socket") ? StackFd(stack, static_cast<int>(fd)) : StackFd();
}

std::optional<SocketAddress> bind_any(const StackFd& socket, const std::string& address) {
  SocketAddress name(IpPrefix::parse(address).value(), 0);
  if (!succeeds(socket.call(SYS_bind, name.get(), name.length), "bind " + address)) return {};
  if (!succeeds(socket.call(SYS_getsockname, name.get(), &name.length), "getsockname")) return {};
  return name;
}

std::optional<SocketPair> connect_sockets(Stack& stack, const std::string& address, int type,
                                          int protocol,
                                          const std::function<void(StackFd&)>& prepare) {
  const int family = static_cast<int>(IpPrefix::parse(address).value().family);
  StackFd listener = open_socket(stack, family, type, protocol);
  StackFd client = open_socket(stack, family, type, protocol);
  if (!listener || !client) return {};
  if (prepare) {
    prepare(listener);
    prepare(client);
  }
  const auto name = bind_any(listener, address);
  if (!name || !succeeds(listener.call(SYS_listen, 1), "listen")) return {};
  if (!succeeds(client.call(SYS_connect, name->get(), name->length), "connect " + name->str()))
    return {};
  const long accepted = listener.call(SYS_accept4, nullptr, nullptr, 0);
  if (!succeeds(accepted, "accept")) return {};
  return SocketPair{std::move(client), StackFd(stack, static_cast<int>(accepted))};
}

void expect_delivers(const StackFd& from, const StackFd& to, const std::string& text) {
  ASSERT_EQ(from.call(SYS_sendto, text.data(), text.size(), 0, nullptr, 0), long(text.size()));
  std::string got(text.size(), '\0');
  for (std::size_t have = 0; have < text.size();) {
    const long part =
        to.call(SYS_recvfrom, got.data() + have, got.size() - have, 0, nullptr, nullptr);
    ASSERT_GT(part, 0) << "after " << have << " bytes";
    have += static_cast<std::size_t>(part);
  }
  EXPECT_TRUE(got == text);
}

FlowReport expect_intact(Stack& stack, const FlowSpec& spec) {
  auto flow = Flow::start(stack, spec);
  EXPECT_TRUE(flow) << flow.error().message();
  if (!flow) return {};
  if (!(*flow)->wait(stack.now() + 20s)) {
    ADD_FAILURE() << "the flow does not end: " << (*flow)->report().bytes_verified << " bytes";
    (*flow)->abort();
    (*flow)->wait();
  }
  FlowReport report = (*flow)->report();
  EXPECT_EQ(report.state, FlowState::kDone) << report.error;
  EXPECT_EQ(report.bytes_verified, report.bytes_sent);
  EXPECT_EQ(report.checksum_sent, report.checksum_received);
  if (spec.bytes != 0) {
    EXPECT_EQ(report.bytes_verified, spec.bytes);
  }
  return report;
}

}  // namespace lkm
