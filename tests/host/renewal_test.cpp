// SPDX-License-Identifier: GPL-2.0
//
// A module goes on in place: its timer, its files, its objects and its variables with new code.
#include <fcntl.h>
#include <sys/syscall.h>

#include <ctime>
#include <regex>
#include <sstream>

#include "libos-runtime/host/sanitizer.hpp"
#include "tests/host/host_test.hpp"
#include "tests/wait_until.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

/// What /proc/ticker shows.
struct Ticker {
  unsigned long ticks = 0;
  int step = 0;
  int sum = 0;
  unsigned long total = 0;
  unsigned long met = 0;
};

Ticker ticker(Stack& stack) {
  Ticker now;
  const auto text = stack.read_file("/proc/ticker");
  EXPECT_TRUE(text) << text.error().message();
  if (text) std::istringstream(*text) >> now.ticks >> now.step >> now.sum >> now.total >> now.met;
  return now;
}

void tell(Stack& stack, const std::string& what) {
  const auto written = stack.write_file("/proc/ticker", what);
  EXPECT_TRUE(written) << written.error().message();
}

class ARenewal : public HostTest {};

TEST_F(ARenewal, KeepsTimersFilesObjectsAndVariables) {
  const auto first = plugin("ticker", 1);
  const auto second = plugin("ticker", 2);
  options_.clock = Clock::kVirtual;  // it counts ticks
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    tell(stack, "add 5");
    // An open file has a pointer to the module's operations.
    const long file = stack.syscall(SYS_open, "/proc/ticker", O_RDONLY, 0);
    ASSERT_GE(file, 0);
    stack.sleep_for(20ms);
    const auto before = ticker(stack);
    EXPECT_GT(before.ticks, 5u);
    EXPECT_EQ(before.sum, 6);
    EXPECT_EQ(before.total, 1u);

    const auto report = stack.swap(second);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
    EXPECT_EQ(report->to_generation, 2u);
    EXPECT_FALSE(report->init_changed);
    EXPECT_GT(report->variables_kept, 0u);

    const auto after = ticker(stack);
    EXPECT_GE(after.ticks, before.ticks);
    EXPECT_EQ(after.step, 10) << "a default that nobody changed is the new source's";
    EXPECT_EQ(after.sum, 600) << "an object's callback is the new one";
    EXPECT_EQ(after.total, 1u) << "what was counted is kept";
    tell(stack, "add 1");
    EXPECT_EQ(ticker(stack).total, 1001u);
    EXPECT_EQ(ticker(stack).sum, 700);
    stack.sleep_for(20ms);
    EXPECT_GT(ticker(stack).ticks, after.ticks + 50) << "the timer runs the new code";
    char text[64] = "";
    EXPECT_GT(stack.syscall(SYS_read, file, text, sizeof(text)), 0);
    EXPECT_NE(std::string(text).find(" 10 700 "), std::string::npos) << text;
    stack.syscall(SYS_close, file);

    const auto modules = stack.modules().value();
    ASSERT_EQ(modules.size(), 1u);
    EXPECT_EQ(modules[0].generation, 2u);
    EXPECT_EQ(modules[0].path, second);
    const auto unloaded = stack.unload("ticker");
    ASSERT_TRUE(unloaded) << unloaded.error().message();
    EXPECT_NE(log_.find("variant 2 ends"), std::string::npos) << "the new exit runs";
  });
}

TEST_F(ARenewal, KeepsAParameterThatTheUserChanged) {
  const auto first = plugin("ticker", 1);
  const auto second = plugin("ticker", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first, "step=3"));
    ASSERT_TRUE(stack.swap(second));
    EXPECT_EQ(ticker(stack).step, 3);
    ASSERT_TRUE(stack.write_file("/sys/module/ticker/parameters/step", "4"));
    EXPECT_EQ(ticker(stack).step, 4) << "the file writes the variable that the code reads";
    ASSERT_TRUE(stack.swap(first));
    EXPECT_EQ(ticker(stack).step, 4);
  });
}

TEST_F(ARenewal, IsRefusedWithTheReasonWhenObjectsLookDifferent) {
  const auto first = plugin("ticker", 1);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    // A reference, as an open file of another kind of module would hold.
    const long held = stack.syscall(SYS_open, "/proc/ticker", O_RDONLY, 0);
    for (const auto& [variant, reason] :
         {std::pair(3, "struct object: 'node' has the address of the whole, and must stay in front"),
          std::pair(6, "other parameters")}) {
      const auto report = stack.swap(plugin("ticker", variant));
      if (report) {
        // Nothing holds a reference to it, so it is swapped while idle.
        EXPECT_EQ(report->method, SwapMethod::kReloaded);
        EXPECT_NE(report->not_in_place.find(reason), std::string::npos) << report->not_in_place;
      } else {
        EXPECT_NE(report.error().message().find(reason), std::string::npos) << report.error().message();
      }
      ASSERT_TRUE(stack.swap(first));
    }
    stack.syscall(SYS_close, held);
  });
}

/// What /proc/blocks shows.
struct Blocks {
  unsigned items = 0, slots = 0;
  unsigned long ticks = 0, extra = 0, broken = 99;
};

Blocks blocks(Stack& stack) {
  Blocks now;
  const auto text = stack.read_file("/proc/blocks");
  EXPECT_TRUE(text) << text.error().message();
  if (text) std::istringstream(*text) >> now.items >> now.slots >> now.ticks >> now.extra >> now.broken;
  return now;
}

TEST_F(ARenewal, RearrangesWhatTheModuleHasAllocatedAndMovesWhatHasNoRoom) {
  const std::string builds[] = {plugin("blocks", 1), plugin("blocks", 2), plugin("blocks", 3)};
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(builds[0]));
    const auto flow = start_flow(stack, "cubic");
    ASSERT_TRUE(flow);
    unsigned n = 0;
    for (int round = 1; round <= 12; ++round) {
      for (int i = 0; i < 5 * round; ++i, ++n) ASSERT_TRUE(stack.write_file("/proc/blocks", "add"));
      // One whose timer has never come counts as broken.
      wait_until(stack, [&] { return blocks(stack).broken == 0; });
      const auto before = blocks(stack);
      ASSERT_EQ(before.broken, 0u) << round;
      const auto report = stack.swap(builds[round % 3]);
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
      const std::string said = fmt::format("{}", fmt::join(report->state_remarks, "\n"));
      if (round % 3 == 1) {
        // Those that were made since this was so the last time.
        EXPECT_TRUE(std::regex_search(said, std::regex(fmt::format("struct item: {} blocks rearranged .[0-9]+ in a new place.", n)))) << said;
        EXPECT_NE(said.find(fmt::format("struct slot: {} blocks rearranged in place", n)), said.npos) << said;
      } else if (round % 3 == 0) {
        EXPECT_NE(said.find(fmt::format("struct item: {} blocks rearranged in place", n)), said.npos) << said;
      }
      // The timer of each comes again.
      wait_until(stack, [&] { return blocks(stack).ticks >= before.ticks + n; });
      const auto now = blocks(stack);
      EXPECT_EQ(now.items, n);
      EXPECT_EQ(now.slots, n);
      EXPECT_EQ(now.broken, 0u) << round << "\n" << said;
      EXPECT_GE(now.ticks, before.ticks + n);
      EXPECT_EQ(now.extra > 0, round % 3 != 0);
      if (HasFailure()) return;
    }
    expect_intact(stack, *flow, "cubic");
    log_.clear();
    const auto gone = stack.unload("blocks");
    ASSERT_TRUE(gone) << gone.error().message();
    EXPECT_EQ(log_.find("blocks:"), log_.npos) << "nothing is left behind: " << log_;
  });
}

TEST_F(ARenewal, RefusesByNameWhatItCannotRearrangeInMemoryOfTheModules) {
  const auto first = plugin("blocks", 1);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(stack.write_file("/proc/blocks", "add"));
    const long held = stack.syscall(SYS_open, "/proc/blocks", O_RDONLY, 0);
    ASSERT_GE(held, 0);
    for (const auto& [variant, reason] :
         {std::pair(4, "struct row has 24 bytes, and a block by blocks.c:[0-9]+ has 192: it is an array, or has something behind it"),
          std::pair(5, "struct slot: needs 272 bytes, and each object by blocks.c:[0-9]+ has room for"),
          std::pair(6, "struct count has changed, and the per-CPU blocks by blocks.c:[0-9]+ stay as they are: they are one for each CPU"),
          std::pair(7, "struct hidden: 'extra' is new"),
          std::pair(8, "variable 'sums' has a value, and is struct pair, which has changed")}) {
      const auto report = stack.swap(plugin("blocks", variant));
      const std::string said = report ? report->not_in_place : report.error().message();
      EXPECT_TRUE(std::regex_search(said, std::regex(reason))) << variant << ": " << said;
      EXPECT_EQ(blocks(stack).broken, 0u);
      if (!report) continue;
      ASSERT_TRUE(stack.swap(first));
      for (int i = 0; i < 5; ++i) ASSERT_TRUE(stack.write_file("/proc/blocks", "add"));
    }
    stack.syscall(SYS_close, held);
  });
}

TEST_F(ARenewal, TakesNewVariablesAndTellsThatInitIsAnotherOne) {
  const auto first = plugin("ticker", 1);
  const auto fifth = plugin("ticker", 5);
  const auto second = plugin("ticker", 2);
  options_.clock = Clock::kVirtual;  // it counts ticks
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    const auto before = ticker(stack);
    const auto report = stack.swap(fifth);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
    EXPECT_TRUE(report->init_changed);
    EXPECT_FALSE(stack.read_file("/proc/ticker5")) << "init must not have run";
    stack.sleep_for(20ms);
    EXPECT_GT(ticker(stack).ticks, before.ticks + 50) << "by 8 at a time";
    ASSERT_TRUE(stack.swap(second));
    ASSERT_TRUE(stack.swap(fifth));
    stack.sleep_for(5ms);
    ASSERT_TRUE(stack.unload("ticker"));
  });
}

TEST_F(ARenewal, WaitsForATaskThatSleepsInTheOldCode) {
  const auto first = plugin("ticker", 1);
  const auto second = plugin("ticker", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    auto waiter = stack.spawn("waiter", [&] { tell(stack, "wait"); });
    ASSERT_TRUE(waiter);
    stack.sleep_for(2ms);
    auto ringer = stack.spawn("ringer", [&] {
      stack.sleep_for(100ms);
      tell(stack, "ring");
    });
    const auto report = stack.swap(second);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
    EXPECT_GT(report->quiesce, 20ms);
    waiter->join();
    ringer->join();
    EXPECT_EQ(ticker(stack).total, 2u) << "both writes ended in the old code";
    // Nobody else was kept waiting meanwhile: far less than the wait itself, whatever the machine and the sanitizers
    // make of the blackout of a swap that waits for nobody.
    const auto alone = stack.swap(first);
    ASSERT_TRUE(alone) << alone.error().message();
    EXPECT_LT(report->blackout, std::max(report->quiesce / 4, 10 * alone->blackout))
        << report->quiesce.count() << " ns waited, " << alone->blackout.count() << " ns alone";
  });
}

// With that many tasks others run between the looks at them, and go in and out of the module.
TEST_F(ARenewal, MissesNobodyWhoComesInWhileItLooks) {
  constexpr int kSwaps = 30;
  constexpr int kTasks = 300;
  const std::string builds[] = {plugin("ticker", 1), plugin("ticker", 2)};
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(builds[0]));
    bool done = false;
    std::vector<Fiber> tasks;
    for (int i = 0; i < kTasks; ++i) {
      auto task = stack.spawn("waiter", [&, i] {
        while (!done) {
          tell(stack, "wait");
          stack.sleep_for(20ms + i * 50us);
        }
      });
      ASSERT_TRUE(task) << task.error().message();
      tasks.push_back(std::move(*task));
    }
    auto ringer = stack.spawn("ringer", [&] {
      while (!done) {
        tell(stack, "ring");
        stack.sleep_for(200us);
      }
      tell(stack, "ring");
    });
    ASSERT_TRUE(ringer);
    for (int i = 1; i <= kSwaps; ++i) {
      const auto report = stack.swap(builds[i % 2]);
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
    }
    done = true;
    for (auto& task : tasks) {
      while (!task.done()) {
        tell(stack, "ring");
        stack.sleep_for(1ms);
      }
    }
    EXPECT_EQ(ticker(stack).met, 0u) << "somebody waited in the old code while the new one served";
  });
}

TEST_F(ARenewal, InterruptsATaskThatStaysInTheOldCode) {
  const auto first = plugin("ticker", 1);
  const auto second = plugin("ticker", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    long result = 0;
    auto waiter = stack.spawn("waiter", [&] {
      const long file = stack.syscall(SYS_open, "/proc/ticker", O_WRONLY, 0);
      result = stack.syscall(SYS_write, file, "wait", 4);
      stack.syscall(SYS_close, file);
    });
    ASSERT_TRUE(waiter);
    stack.sleep_for(2ms);
    const auto report = stack.swap(second);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
    waiter->join();
    EXPECT_EQ(result, -EINTR);
  });
}

TEST_F(ARenewal, KeepsATaskOutThatComesBackAtOnce) {
  const auto first = plugin("ticker", 1);
  const auto second = plugin("ticker", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    int interrupted = 0;
    bool over = false;
    auto waiter = stack.spawn("waiter", [&] {
      const long file = stack.syscall(SYS_open, "/proc/ticker", O_WRONLY, 0);
      while (!over) interrupted += stack.syscall(SYS_write, file, "wait", 4) == -EINTR;
      stack.syscall(SYS_close, file);
    });
    ASSERT_TRUE(waiter);
    stack.sleep_for(2ms);
    const auto report = stack.swap(second);
    EXPECT_TRUE(report) << report.error().message();
    if (report) {
      EXPECT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
    }
    EXPECT_EQ(interrupted, 1);
    over = true;
    stack.sleep_for(2ms);
    tell(stack, "ring");
    waiter->join();
  });
}

TEST_F(ARenewal, EndsWhenItsOwnFiberIsInterrupted) {
  const auto first = plugin("ticker", 1);
  const auto second = plugin("ticker", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    auto waiter = stack.spawn("waiter", [&] {
      const long file = stack.syscall(SYS_open, "/proc/ticker", O_WRONLY, 0);
      stack.syscall(SYS_write, file, "wait", 4);
      stack.syscall(SYS_close, file);
    });
    ASSERT_TRUE(waiter);
    stack.sleep_for(2ms);
    bool swapped = false;
    auto swap = stack.spawn("swap", [&] {
      const auto report = stack.swap(second);
      EXPECT_TRUE(report) << report.error().message();
      swapped = bool(report);
    });
    ASSERT_TRUE(swap);
    for (int i = 0; i < 10'000 && !swap->done(); ++i) {
      swap->interrupt();
      stack.sleep_for(1ms);
    }
    EXPECT_TRUE(swapped);
    waiter->join();
  });
}

TEST_F(ARenewal, IsRefusedWhileAKernelThreadOfTheModuleSleepsInIt) {
  const auto first = plugin("ticker", 1);
  const auto second = plugin("ticker", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    tell(stack, "thread");
    stack.sleep_for(2ms);
    for (int i = 0; i < 2; ++i) {
      expect_refused(stack.swap(second), EBUSY, {"ticker", "sleep_in_here", "serves on"});
    }
    EXPECT_EQ(ticker(stack).step, 1);
    // The thread sleeps on: it has not been given a signal that it never takes.
    const auto before = std::clock();
    stack.sleep_for(200ms);
    EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 10);
    ASSERT_TRUE(stack.unload("ticker"));
  });
}

TEST_F(ARenewal, KeepsTheSocketsOfACongestionControlUnderFlows) {
  const std::string builds[] = {plugin("swapcc", 1), plugin("swapcc", 2)};
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(builds[0]));
    FlowSpec spec;
    spec.route.control = "swapcc";
    auto flow = Flow::start(stack, spec);
    ASSERT_TRUE(flow) << flow.error().message();
    std::size_t mapped = 0;
    for (int i = 1; i <= 100; ++i) {
      const auto report = stack.swap(builds[i % 2]);
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
      mapped = std::max(mapped, report->builds_mapped);
    }
    EXPECT_LE(mapped, 6u);
    (*flow)->stop();
    EXPECT_TRUE((*flow)->wait(stack.now() + 20s));
    const auto report = (*flow)->report();
    EXPECT_EQ(report.state, FlowState::kDone) << report.error;
    EXPECT_EQ(report.bytes_verified, report.bytes_sent);
    ASSERT_TRUE(stack.unload("swapcc"));
  });
}

TEST_F(ARenewal, ReachesTheModulesThatUseItsSymbols) {
  const std::string builds[] = {plugin("faulty"), plugin("faulty", 2), plugin("faulty", 3)};
  const auto dependent = plugin("dependent");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(builds[0]));
    ASSERT_TRUE(stack.load(dependent));
    const auto ask = [&](const std::string& parameter) {
      return stack.read_file("/sys/module/dependent/parameters/" + parameter).value();
    };
    for (int round = 1; round <= 6; ++round) {
      const auto report = stack.swap(builds[round % 3]);
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
      EXPECT_LE(report->builds_mapped, 4u);
      const char* const answers[] = {"42\n", "44\n", "45\n"};
      EXPECT_EQ(ask("ask"), answers[round % 3]);
      EXPECT_EQ(ask("answer"), "42\n") << "its init ran once";
    }
    // It goes on after the other is renewed itself, and loaded anew.
    ASSERT_TRUE(stack.unload("dependent"));
    ASSERT_TRUE(stack.swap(builds[2]));
    ASSERT_TRUE(stack.load(dependent));
    EXPECT_EQ(ask("ask"), "45\n");
    EXPECT_EQ(ask("answer"), "45\n");
    ASSERT_TRUE(stack.unload("dependent"));
    ASSERT_TRUE(stack.unload("faulty"));
  });
}

TEST_F(ARenewal, IsRepeatedAThousandTimesWithoutGrowth) {
  const std::string builds[] = {plugin("ticker", 1), plugin("ticker", 2)};
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(builds[0]));
    const auto mappings = [] {
      std::size_t lines = 0;
      for (const char c : read_file("/proc/self/maps").value_or("")) lines += c == '\n';
      return lines;
    };
    const auto swap = [&](int i) {
      const auto report = stack.swap(builds[i % 2]);
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
    };
    const auto objects = ticker(stack).sum;
    // How many builds are mapped varies from swap to swap, for a while; what it comes to is to stay the same.
    const auto most_in = [&](int swaps) {
      std::size_t most = 0;
      for (int i = 1; i <= swaps && !HasFatalFailure(); ++i) {
        swap(i);
        most = std::max(most, mappings());
      }
      return most;
    };
    const auto first_half = most_in(500), second_half = most_in(500);
    // A swap in fifty that left a build mapped would add more than this. A sanitizer's own mappings grow.
    if (!sanitizer::kEnabled) {
      EXPECT_LE(second_half, first_half + 12);
    }
    EXPECT_EQ(ticker(stack).sum, objects);
  });
}

}  // namespace
}  // namespace lkm
