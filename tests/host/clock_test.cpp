// SPDX-License-Identifier: GPL-2.0
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "tests/host/host_test.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class AVirtualClock : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    options_.clock = Clock::kVirtual;
  }

  /// What a stack with that seed says of itself, in a process of its own.
  std::string facts(std::uint64_t seed) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      options_.seed = seed;
      const auto ended = try_run([&](Stack& stack) {
        std::string text = stack.read_file("/proc/sys/kernel/random/uuid").value();
        auto flow =
            Flow::start(stack, {.kind = FlowKind::kRequests, .requests = 50, .interval = 7ms});
        (*flow)->wait();
        text += fmt::format("{} {}\n", (*flow)->report().server, stack.now().count());
        text += stack.read_file("/proc/net/snmp").value() +
                stack.read_file("/proc/net/netstat").value();
        [[maybe_unused]] const auto n = ::write(ends[1], text.data(), text.size());
      });
      ::_exit(ended ? 0 : 1);
    }
    ::close(ends[1]);
    std::string text;
    char buffer[4096];
    for (long n = 0; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
      text.append(buffer, std::size_t(n));
    ::close(ends[0]);
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    return text;
  }
};

class ARealClock : public HostTest {};

TEST_F(ARealClock, WakesInTimeAndDoesNotTickMeanwhile) {
  const auto wakes = [] {
    rusage used{};
    ::getrusage(RUSAGE_THREAD, &used);
    return used.ru_nvcsw;
  };
  run([&](Stack& stack) {
    // A tick is 1 ms.
    const long before = wakes();
    stack.sleep_for(500ms);
    EXPECT_LT(wakes() - before, 50);
    // To the next tick each would be 1 ms on the average.
    auto shortest = std::chrono::nanoseconds::max();
    for (int tried = 0; tried < 10; ++tried) {
      const auto begin = stack.now();
      for (int i = 0; i < 40; ++i) stack.sleep_for(300us);
      shortest = std::min(shortest, std::chrono::nanoseconds(stack.now() - begin));
    }
    EXPECT_LT(shortest, 40 * 600us);
  });
}

TEST_F(AVirtualClock, SleepsExactlyAndAtOnce) {
  run([](Stack& stack) {
    const auto real = std::chrono::steady_clock::now();
    const auto before = stack.now();
    stack.sleep_for(3600s);
    const auto slept = stack.now() - before;
    EXPECT_GE(slept, 3600s);
    EXPECT_LT(slept, 3600s + 1ms);
    EXPECT_LT(std::chrono::steady_clock::now() - real, 20s);
  });
}

TEST_F(AVirtualClock, StandsWhileCodeRunsAndWhileTheHostIsWaitedFor) {
  run([](Stack& stack) {
    const auto before = stack.now();
    const auto until = std::chrono::steady_clock::now() + 20ms;
    while (std::chrono::steady_clock::now() < until) stack.yield();
    EXPECT_EQ(stack.now(), before);

    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    std::jthread slow([&] {
      std::this_thread::sleep_for(50ms);
      EXPECT_EQ(::write(writer.get(), "x", 1), 1);
    });
    ASSERT_TRUE(stack.wait_fd(reader.get(), 1 /* POLLIN */));
    EXPECT_LT(stack.now() - before, 5ms);
  });
}

TEST_F(AVirtualClock, GivesOneRunPerSeed) {
  const auto first = facts(1);
  EXPECT_FALSE(first.empty());
  EXPECT_EQ(first, facts(1));
  EXPECT_NE(first, facts(2));
}

TEST_F(AVirtualClock, ServesThreads) {
  embed([](Stack& stack) {
    const auto real = std::chrono::steady_clock::now();
    const auto before = stack.now();
    stack.sleep_for(100s);
    EXPECT_GE(stack.now() - before, 100s);
    EXPECT_LT(std::chrono::steady_clock::now() - real, 20s);
  });
}

}  // namespace
}  // namespace lkm
