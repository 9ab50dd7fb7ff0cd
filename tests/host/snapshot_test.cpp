// SPDX-License-Identifier: GPL-2.0
//
// A new build that kills the stack: it goes on from the snapshot, and the flows in it lose nothing. The test itself
// goes on in the copy, too.
#include <unistd.h>

#include <algorithm>

#include "tests/host/host_test.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class ASnapshot : public HostTest {
 protected:
  /// Swaps in a build that dies, and sees that nothing was lost.
  void survives(int variant) {
    const auto first = plugin("swapcc", 1);
    const auto deadly = plugin("swapcc", variant);
    const auto second = plugin("swapcc", 2);
    std::string why;
    options_.on_resume = [&](const std::string& text) { why = text; };
    const pid_t original = ::getpid();
    run([&](Stack& stack) {
      ASSERT_TRUE(stack.load(first));
      const auto flow = start_flow(stack, "swapcc");
      const auto bystander = start_flow(stack, "cubic");
      ASSERT_TRUE(flow && bystander);
      stack.sleep_for(20ms);
      const auto report = stack.swap(deadly, {.snapshot = true, .parameters = ""});
      if (report) {
        // It died after the answer, so here is the original: it must not live on.
        stack.sleep_for(3s);
        ADD_FAILURE() << "the stack did not die";
        return;
      }
      EXPECT_NE(::getpid(), original);
      EXPECT_FALSE(why.empty());
      EXPECT_NE(report.error().message().find("as it was before"), std::string::npos);
      ASSERT_EQ(stack.modules()->size(), 1u);
      EXPECT_EQ(stack.modules()->at(0).generation, 1u);
      EXPECT_EQ(stack.sysctl("kernel.panic_on_oops").value(), "0");
      stack.sleep_for(20ms);
      // The next one, which is good.
      const auto good = stack.swap(second, {.snapshot = true, .parameters = ""});
      ASSERT_TRUE(good) << good.error().message();
      stack.sleep_for(20ms);
      expect_intact(stack, *flow, "swapcc");
      expect_intact(stack, *bystander, "cubic");
    });
  }
};

TEST_F(ASnapshot, SurvivesABadPointerInSoftirq) { survives(6); }
TEST_F(ASnapshot, SurvivesABug) { survives(7); }
TEST_F(ASnapshot, SurvivesAnEndlessLoop) { survives(8); }
TEST_F(ASnapshot, SurvivesAFullCallStack) { survives(9); }

TEST_F(ASnapshot, IsDroppedAfterTheProbation) {
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    const auto children = [] {
      const auto list = read_file("/proc/thread-self/children").value();
      return std::ranges::count(list, ' ');
    };
    const auto before = children();
    const auto report =
        stack.swap(second, {.snapshot = true, .probation = 50ms, .parameters = ""});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_GT(report->snapshot, 0ns);
    EXPECT_EQ(children(), before + 1);
    // Another one within the probation takes its place.
    const SwapOptions again{.snapshot = true, .probation = 50ms, .parameters = ""};
    ASSERT_TRUE(stack.swap(first, again));
    EXPECT_EQ(children(), before + 1);
    stack.sleep_for(200ms);
    EXPECT_EQ(children(), before);
    EXPECT_EQ(stack.sysctl("kernel.panic_on_oops").value(), "0");
    expect_serves(stack, "swapcc");
  });
}

TEST_F(ASnapshot, IsRefusedInEmbeddedMode) {
  const auto first = plugin("swapcc", 1);
  embed([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    expect_refused(stack.swap(first, {.snapshot = true, .parameters = ""}), EOPNOTSUPP, {"embedded"});
    EXPECT_EQ(stack.modules()->at(0).generation, 1u);
  });
}

}  // namespace
}  // namespace lkm
