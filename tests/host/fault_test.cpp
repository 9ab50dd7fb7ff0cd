// SPDX-License-Identifier: GPL-2.0
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/host/host_test.hpp"
#include "toolkit/base/mapping.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {
namespace {

class AFault : public HostTest {
 protected:
  /// Makes the module do `what` on a fiber of its own. Once per test: as in any kernel, the locks
  /// of a task that died stay held, here that of the module's parameters.
  static FiberEnd provoke(Stack& stack, const std::string& what) {
    auto fiber = stack.spawn(
        "victim", [&] { (void)stack.write_file("/sys/module/faulty/parameters/trigger", what); });
    EXPECT_TRUE(fiber);
    return fiber->join();
  }
};

TEST_F(AFault, EndsTheFiberAndNothingElse) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    EXPECT_EQ(provoke(stack, "null"), FiberEnd::kOopsed);
    expect_serves(stack);
  });
  EXPECT_NE(log_.find("bad memory access"), std::string::npos);
  EXPECT_NE(log_.find("RIP: faulty_dereference+"), std::string::npos);
  EXPECT_NE(log_.find("[faulty]"), std::string::npos);
  EXPECT_NE(log_.find("param_attr_store+"), std::string::npos) << log_;  // the caller's frame
}

TEST_F(AFault, IsNamedAsABugWithItsPlace) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    EXPECT_EQ(provoke(stack, "bug"), FiberEnd::kOopsed);
    expect_serves(stack);
  });
  EXPECT_NE(log_.find("kernel BUG at"), std::string::npos);
  EXPECT_NE(log_.find("faulty.c"), std::string::npos);
}

TEST_F(AFault, OfAnOverflowedCallStackIsCaughtByItsGuardPage) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    EXPECT_EQ(provoke(stack, "recursion"), FiberEnd::kOopsed);
    expect_serves(stack);
  });
  EXPECT_NE(log_.find("faulty_recursion+"), std::string::npos);
}

/// A store that a sanitizer leaves to the CPU.
__attribute__((no_sanitize("address", "undefined"))) void store_nowhere() {
  volatile int* nowhere = nullptr;
  *nowhere = 1;
}

TEST_F(AFault, OfTheHostsOwnCodeOnAFiberEndsThatFiber) {
  run([](Stack& stack) {
    auto fiber = stack.spawn("victim", [] { store_nowhere(); });
    ASSERT_TRUE(fiber);
    EXPECT_EQ(fiber->join(), FiberEnd::kOopsed);
    expect_serves(stack);
  });
}

TEST_F(AFault, OfTheMainFiberEndsTheStackWithAnError) {
  const auto ended = try_run([](Stack&) { store_nowhere(); });
  expect_refused(ended, EFAULT, {"main", "oops"});
}

TEST_F(AFault, OfAnExitLeavesAZombie) {
  const auto bad = plugin("matrix", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(bad, "fault=\"null in exit\""));
    expect_refused(stack.unload("matrix"), EFAULT, {"oops in its exit", "in dereference (matrix.c:"});
    const auto modules = stack.modules();
    ASSERT_TRUE(modules);
    ASSERT_EQ(modules->size(), 1u);
    EXPECT_EQ(modules->front().name, "matrix@oops1");
    EXPECT_EQ(modules->front().state, "zombie");
    expect_serves(stack);
  });
  EXPECT_NE(log_.find("matrix_exit+"), std::string::npos) << log_;
}

TEST_F(AFault, InAFunctionWithoutAFrameHasItsCallerInTheTrace) {
  const auto bad = plugin("matrix", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(bad, "fault=null"));
    (void)stack.spawn("victim", [&] { (void)stack.write_file("/sys/module/matrix/parameters/trigger", "1"); })
        ->join();
  });
  // A leaf, and then who called it by a pointer.
  const auto leaf = log_.find(" dereference+", log_.find("Call Trace"));
  ASSERT_NE(leaf, std::string::npos) << log_;
  const auto next = log_.find('\n', leaf);
  EXPECT_NE(log_.substr(leaf, next - leaf).find("matrix.c:"), std::string::npos);
  EXPECT_NE(log_.substr(next, 80).find("trigger_set+"), std::string::npos) << log_;
}

TEST_F(AFault, EndsTheCallOfAThreadAndTheThreadMayCallAgain) {
  const auto faulty = plugin("faulty");
  embed([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    expect_refused(stack.write_file("/sys/module/faulty/parameters/trigger", "null"), EFAULT, {});
    EXPECT_GT(stack.syscall(SYS_getpid), 0);
    EXPECT_EQ(module_line(stack, "faulty").empty(), false);
  });
}

TEST_F(AFault, AtABadPointerOfACallIsEfault) {
  run([](Stack& stack) {
    const auto memory = Mapping::memory(2 * 4096);
    ASSERT_TRUE(memory);
    ASSERT_EQ(::mprotect(memory->data() + 4096, 4096, PROT_NONE), 0);
    void* const null = nullptr;
    void* const unmapped = memory->data() + 4096;
    void* const partly = memory->data() + 4096 - 8;

    const StackFd file(stack, int(stack.syscall(SYS_open, "/proc/version", 0, 0)));
    ASSERT_TRUE(file);
    int ends[2];
    ASSERT_EQ(stack.syscall(SYS_pipe, ends), 0);
    const StackFd reader(stack, ends[0]);
    const StackFd writer(stack, ends[1]);
    const StackFd socket(stack, int(stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)));
    ASSERT_TRUE(socket);

    for (void* bad : {null, unmapped}) {
      EXPECT_EQ(file.call(SYS_read, bad, 64), -EFAULT);
      EXPECT_EQ(writer.call(SYS_write, bad, 64), -EFAULT);
      socklen_t length = sizeof(int);
      EXPECT_EQ(socket.call(SYS_getsockopt, SOL_SOCKET, SO_TYPE, bad, &length), -EFAULT);
      EXPECT_EQ(socket.call(SYS_getsockopt, SOL_SOCKET, SO_TYPE, memory->data(), bad), -EFAULT);
      EXPECT_EQ(socket.call(SYS_setsockopt, SOL_SOCKET, SO_REUSEADDR, bad, 4), -EFAULT);
      EXPECT_EQ(socket.call(SYS_bind, bad, sizeof(sockaddr_in)), -EFAULT);
      EXPECT_EQ(stack.syscall(SYS_open, bad, 0, 0), -EFAULT);
      EXPECT_EQ(stack.syscall(SYS_pipe, bad), -EFAULT);
    }
    // What fits is read; a file system may also refuse it all.
    const long read = file.call(SYS_read, partly, 64);
    EXPECT_TRUE(read == 8 || read == -EFAULT) << read;
    EXPECT_EQ(writer.call(SYS_write, partly, 64), -EFAULT);
    EXPECT_EQ(socket.call(SYS_bind, partly, sizeof(sockaddr_in)), -EFAULT);
    tcp_info info;
    socklen_t length = sizeof(info);
    EXPECT_EQ(socket.call(SYS_getsockopt, IPPROTO_TCP, TCP_INFO, partly, &length), -EFAULT);
    expect_serves(stack);
  });
}

}  // namespace
}  // namespace lkm
