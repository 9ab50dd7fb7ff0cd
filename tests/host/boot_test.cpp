// SPDX-License-Identifier: GPL-2.0
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "libos-runtime/host/sanitizer.hpp"
#include "tests/host/host_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class BootOfAStack : public HostTest {};

TEST_F(BootOfAStack, GivesBackWhatMainReturns) {
  const auto result = Stack::run(options_, [](Stack&) { return 42; });
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(*result, 42);
}

TEST_F(BootOfAStack, IsTheKernelOfTheImage) {
  run([](Stack& stack) {
    const auto version = stack.read_file("/proc/version");
    ASSERT_TRUE(version);
    EXPECT_TRUE(version->starts_with("Linux version " + stack.release())) << *version;
  });
  EXPECT_NE(log_.find("Linux version "), std::string::npos);
}

TEST_F(BootOfAStack, TimesItsStagesInOrder) {
  run([](Stack& stack) {
    const auto& chart = stack.boot_chart();
    ASSERT_GE(chart.size(), 6u);
    EXPECT_EQ(chart.front().name, "map the library");
    auto before = 0ns;
    for (const auto& stage : chart) {
      EXPECT_FALSE(stage.name.empty());
      EXPECT_GE(stage.end, before) << stage.name;
      before = stage.end;
    }
    EXPECT_GT(before, 0ns);
  });
}

TEST_F(BootOfAStack, LeavesDescriptorsToAllFibersWhateverOneHas) {
  run([](Stack& stack) {
    // More than a process of the kernel may have, if nobody says otherwise.
    for (int i = 0; i < 5000; ++i) {
      ASSERT_GE(stack.syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0), 0) << i;
    }
    auto other = stack.spawn("other", [&] { EXPECT_TRUE(stack.netns_enter("")); });
    ASSERT_TRUE(other);
    EXPECT_EQ(other->join(), FiberEnd::kReturned);
  });
}

TEST_F(BootOfAStack, IsRefusedBesideAnotherInTheProcess) {
  run([this](Stack& stack) {
    expect_refused(Stack::run(options_, [](Stack&) { return 0; }), EBUSY, {"libos.so", "process"});
    expect_refused(Stack::boot(options_), EBUSY, {"process"});
    expect_serves(stack);
  });
  // Its library stays what the first boot made of it.
  expect_refused(Stack::run(options_, [](Stack&) { return 0; }), EBUSY, {"process"});
}

TEST_F(BootOfAStack, WorksAgainInANewProcess) {
  run([](Stack& stack) { expect_serves(stack); });
  for (int i = 0; i < 3; ++i) {
    const std::string filter = "--gtest_filter=BootOfAStack.GivesBackWhatMainReturns";
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/proc/self/exe", "again", filter.c_str(), nullptr);
      ::_exit(127);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(BootOfAStack, SaysWhichLibraryIsMissing) {
  options_.library = "/nonexistent/libos.so";
  expect_refused(Stack::run(options_, [](Stack&) { return 0; }), ENOENT,
                 {"/nonexistent/libos.so", "Kbuild/kernel"});
}

TEST_F(BootOfAStack, RefusesASharedObjectThatIsNoKernel) {
  options_.library = "libm.so.6";
  expect_refused(Stack::run(options_, [](Stack&) { return 0; }), EPROTO, {"libm.so.6", "ABI"});
  // Nothing booted, so the right one still can.
  SetUp();
  run([](Stack& stack) { expect_serves(stack); });
}

TEST_F(BootOfAStack, EndsAsNotRecoverableByAPanicWithItsText) {
  const auto faulty = plugin("faulty");
  const auto ended = try_run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    (void)stack.write_file("/sys/module/faulty/parameters/trigger", "panic");
    FAIL() << "it goes on after a panic";
  });
  expect_refused(ended, ENOTRECOVERABLE, {"Kernel panic", "asked to by a test"});
}

TEST_F(BootOfAStack, TellsEmbeddedCallersOfAPanic) {
  const auto faulty = plugin("faulty");
  auto stack = Stack::boot(options_);
  ASSERT_TRUE(stack) << stack.error().message();
  ASSERT_TRUE((*stack)->load(faulty));
  EXPECT_FALSE((*stack)->write_file("/sys/module/faulty/parameters/trigger", "panic"));
  EXPECT_EQ((*stack)->syscall(SYS_getpid), -ESHUTDOWN);
  expect_refused((*stack)->modules(), ESHUTDOWN, {"not running"});
}

std::chrono::microseconds cpu_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

/// Private and shared pages that are in memory, without those of the test program's own files.
std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

TEST_F(BootOfAStack, LeavesAnIdleStackWithoutCostInCpuAndMemory) {
  run([](Stack& stack) {
    stack.sleep_for(200ms);  // the last of what boot has put off
    const auto before = cpu_time();
    stack.sleep_for(1s);
    EXPECT_LT(cpu_time() - before, 20ms);
    // A sanitizer's own memory is several times as much.
    if (!sanitizer::kEnabled) {
      EXPECT_LT(resident_bytes(), std::size_t{32} << 20);
    }
  });
}

TEST_F(BootOfAStack, GivesMemoryThatIsFreeAgainBackToTheHost) {
  if (sanitizer::kEnabled) GTEST_SKIP() << "shadow memory stays";
  run([](Stack& stack) {
    const auto before = resident_bytes();
    constexpr std::size_t kSize = std::size_t{64} << 20;
    ASSERT_EQ(stack.syscall(SYS_mknod, "/large", S_IFREG | 0600, 0), 0);
    ASSERT_TRUE(stack.write_file("/large", std::string(kSize, 'x')));
    ASSERT_GT(resident_bytes(), before + kSize);
    ASSERT_EQ(stack.syscall(SYS_unlink, "/large"), 0);
    const auto deadline = stack.now() + 20s;
    while (resident_bytes() > before + kSize / 4 && stack.now() < deadline) stack.sleep_for(50ms);
    EXPECT_LT(resident_bytes(), before + kSize / 4);
    expect_serves(stack);
  });
}

TEST_F(BootOfAStack, LeavesAnIdleEmbeddedStackWithoutCostInCpu) {
  embed([](Stack& stack) {
    EXPECT_GT(stack.syscall(SYS_getpid), 0);
    stack.sleep_for(200ms);
    const auto before = cpu_time();
    stack.sleep_for(1s);
    EXPECT_LT(cpu_time() - before, 20ms);
  });
}

}  // namespace
}  // namespace lkm
