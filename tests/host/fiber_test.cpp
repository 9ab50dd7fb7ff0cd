// SPDX-License-Identifier: GPL-2.0
#include <sys/syscall.h>

#include "tests/host/host_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class AFiber : public HostTest {};

TEST_F(AFiber, RunsAndIsJoined) {
  run([](Stack& stack) {
    int sum = 0;
    std::vector<Fiber> fibers;
    for (int i = 1; i <= 100; ++i) {
      auto fiber = stack.spawn("adder", [&, i] {
        stack.yield();
        sum += i;
      });
      ASSERT_TRUE(fiber);
      EXPECT_GT(fiber->pid(), 1);
      fibers.push_back(*fiber);
    }
    for (auto& fiber : fibers) {
      EXPECT_EQ(fiber.join(), FiberEnd::kReturned);
      EXPECT_TRUE(fiber.done());
    }
    EXPECT_EQ(sum, 5050);
  });
}

TEST_F(AFiber, MayBeJoinedBySeveralAndAfterItsEnd) {
  run([](Stack& stack) {
    auto sleeper = stack.spawn("sleeper", [&] { stack.sleep_for(5ms); });
    ASSERT_TRUE(sleeper);
    int joined = 0;
    const auto join = [&] {
      Fiber copy = *sleeper;
      copy.join();
      ++joined;
    };
    auto first = stack.spawn("first", join);
    auto second = stack.spawn("second", join);
    ASSERT_TRUE(first && second);
    first->join();
    second->join();
    EXPECT_EQ(sleeper->join(), FiberEnd::kReturned);
    EXPECT_EQ(joined, 2);
  });
}

TEST_F(AFiber, OutlivesItsHandle) {
  run([](Stack& stack) {
    bool ran = false;
    {
      ASSERT_TRUE(stack.spawn("detached", [&] { ran = true; }));
    }
    const auto deadline = stack.now() + 5s;
    while (!ran && stack.now() < deadline) stack.yield();
    EXPECT_TRUE(ran);
  });
}

TEST_F(AFiber, FreesWhatItsBodyHolds) {
  run([](Stack& stack) {
    auto held = std::make_shared<int>(7);
    auto fiber = stack.spawn("holder", [held] {});
    ASSERT_TRUE(fiber);
    fiber->join();
    EXPECT_EQ(held.use_count(), 1);
  });
}

TEST_F(AFiber, RunsWhatWaitedForReadersWhereItSleeps) {
  run([](Stack& stack) {
    // ksoftirqd is there for what comes at other times.
    const auto status = [&](int pid) { return stack.read_file(fmt::format("/proc/{}/status", pid)).value_or(""); };
    int ksoftirqd = 2;
    while (ksoftirqd < 100 && !status(ksoftirqd).starts_with("Name:\tksoftirqd/0\n")) ++ksoftirqd;
    const auto switches = [&] {
      constexpr std::string_view kName = "\nvoluntary_ctxt_switches:\t";
      const std::string text = status(ksoftirqd);
      const auto at = text.find(kName);
      return at == std::string::npos ? -1 : std::stol(text.substr(at + kName.size()));
    };
    const long before = switches();
    ASSERT_GE(before, 0);
    constexpr int kRounds = 200;
    for (int i = 0; i < kRounds; ++i) {
      // Its inode is freed after a grace period.
      stack.syscall(SYS_close, stack.syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0));
      stack.park(stack.now() + 50us);
    }
    EXPECT_LT(switches() - before, kRounds / 4);
  });
}

TEST_F(AFiber, WakesFromParkOnceForAnUnparkThatCameFirst) {
  run([](Stack& stack) {
    bool go = false;
    std::vector<bool> woken;
    auto fiber = stack.spawn("parker", [&] {
      while (!go) stack.yield();
      woken.push_back(stack.park(stack.now() + 5s));
      woken.push_back(stack.park(stack.now() + 1ms));
    });
    ASSERT_TRUE(fiber);
    fiber->unpark();
    fiber->unpark();
    go = true;
    fiber->join();
    EXPECT_EQ(woken, (std::vector<bool>{true, false}));
  });
}

TEST_F(AFiber, IsInterruptedInParkAndInASystemCall) {
  run([](Stack& stack) {
    bool woken = true;
    long slept = 0;
    auto fiber = stack.spawn("sleeper", [&] {
      woken = stack.park();
      const timespec hour{.tv_sec = 3600, .tv_nsec = 0};
      slept = stack.syscall(SYS_nanosleep, &hour, nullptr);
    });
    ASSERT_TRUE(fiber);
    stack.sleep_for(1ms);
    fiber->interrupt();
    stack.sleep_for(1ms);
    EXPECT_FALSE(fiber->done());
    fiber->interrupt();
    fiber->join();
    EXPECT_FALSE(woken);
    EXPECT_EQ(slept, -EINTR);
  });
}

TEST_F(AFiber, SleepsNoShorterThanItWasToldAndNotMuchLonger) {
  run([](Stack& stack) {
    auto shortest = 1h + 0ns;
    for (int i = 0; i < 20; ++i) {
      const auto before = stack.now();
      stack.sleep_for(3ms);
      const auto slept = stack.now() - before;
      EXPECT_GE(slept, 3ms);
      shortest = std::min(shortest, std::chrono::nanoseconds(slept));
    }
    EXPECT_LT(shortest, 5ms);  // the best of many: the machine may be busy
  });
}

TEST_F(AFiber, GivesItsStackToTheNext) {
  run([](Stack& stack) {
    for (int i = 0; i < 5000; ++i) {
      auto fiber = stack.spawn("short", [] {});
      ASSERT_TRUE(fiber) << fiber.error().message();
      fiber->join();
    }
    std::vector<Fiber> many;
    for (int i = 0; i < 500; ++i) {
      auto fiber = stack.spawn("many", [&] { stack.sleep_for(1ms); });
      ASSERT_TRUE(fiber) << fiber.error().message();
      many.push_back(*fiber);
    }
    for (auto& fiber : many) EXPECT_EQ(fiber.join(), FiberEnd::kReturned);
  });
}

}  // namespace
}  // namespace lkm
