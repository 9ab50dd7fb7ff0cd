// SPDX-License-Identifier: GPL-2.0
//
// What a new build can do to the stack, one test a fault: two flows that have nothing to do with it are checked from
// before it to after, and so are what is told of it (with the line of the source), what was done, and what runs now.
// Where the stack goes on in a copy, so does the test.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sstream>

#include "libos-runtime/host/sanitizer.hpp"
#include "tests/host/host_test.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/flow/flow.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

/// How the module is brought to meet its fault, once it is loaded.
enum class By { kItself, kAWrite, kASocketCall, kUnload };
/// What becomes of the stack.
enum class Then { kGoesBack, kSwapsBack, kServesOn, kEnds };

struct Fault {
  const char* name;  ///< the module's parameter
  By by = By::kItself;
  Then then = Then::kGoesBack;
  std::vector<const char*> told;   ///< of what happened
  const char* line = nullptr;      ///< of matrix.c, in the report; nullptr: none is told
  const char* cmdline = "";        ///< of the kernel
};

void PrintTo(const Fault& fault, std::ostream* to) { *to << fault.name; }

/// "matrix.c:42", where that text is.
std::string place_of(const std::filesystem::path& source, std::string_view text) {
  std::istringstream lines(read_file(source).value());
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find(text) != std::string::npos) return fmt::format("matrix.c:{}", number);
  }
  ADD_FAILURE() << "no such line: " << text;
  return {};
}

std::string kernel_log(Stack& stack) {
  const StackFd log(stack, int(stack.syscall(SYS_open, "/dev/kmsg", O_RDONLY | O_NONBLOCK, 0)));
  std::string text;
  char record[8192];
  long n = 0;
  while ((n = log.call(SYS_read, record, sizeof(record))) > 0) text.append(record, std::size_t(n));
  return text;
}

class AFaultOfANewBuild : public HostTest, public ::testing::WithParamInterface<Fault> {
 protected:
  static constexpr auto kPatience = 8s;

  /// Waits until each flow has carried more than now.
  static void expect_carries(Stack& stack, const std::vector<Flow*>& flows) {
    for (Flow* flow : flows) {
      const auto before = flow->report().bytes_verified;
      const auto deadline = stack.now() + kPatience;
      while (flow->report().bytes_verified == before && stack.now() < deadline) stack.sleep_for(1ms);
      EXPECT_GT(flow->report().bytes_verified, before);
    }
  }

  void meet(Stack& stack) {
    if (GetParam().by == By::kAWrite) {
      (void)stack.spawn("victim", [&stack] { (void)stack.write_file("/sys/module/matrix/parameters/trigger", "1"); });
    } else if (GetParam().by == By::kASocketCall) {
      (void)stack.spawn("victim", [&stack] {
        const StackFd socket(stack, int(stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)));
        socket.call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, "matrix", 6);
        char info[64];
        socklen_t length = sizeof(info);
        socket.call(SYS_getsockopt, IPPROTO_TCP, TCP_CC_INFO, info, &length);
      });
    }
  }
};

TEST_P(AFaultOfANewBuild, IsContained) {
  const Fault& fault = GetParam();
  const auto good = plugin("matrix", 1);
  const auto bad = plugin("matrix", 2);
  const auto better = plugin("matrix", 3);
  const auto source = std::filesystem::path(HOST_TEST_WORK) / "matrix-2" / "source" / "matrix.c";
  options_.cmdline = fault.cmdline;
  bool resumed = false;
  options_.on_resume = [&](const std::string&) { resumed = true; };
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(good));
    const auto flow = start_flow(stack, "matrix");
    const auto bystander = start_flow(stack, "cubic");
    const auto other = start_flow(stack, "reno");
    ASSERT_TRUE(flow && bystander && other);
    expect_carries(stack, {flow.get(), bystander.get(), other.get()});

    const auto parameters = fmt::format("fault=\"{}\"", fault.name);
    const SwapOptions guarded{.snapshot = true, .probation = 3s, .parameters = parameters};
    Result<void> ended;
    std::chrono::nanoseconds snapshot{};
    if (fault.by == By::kUnload) {
      // Nothing may use what is unloaded.
      flow->stop();
      ASSERT_TRUE(flow->wait(stack.now() + 20s));
      auto swapped = stack.swap(bad, {.parameters = parameters});
      ASSERT_TRUE(swapped) << swapped.error().message();
      ended = stack.unload("matrix", {.snapshot = true});
    } else {
      auto swapped = stack.swap(bad, guarded);
      if (swapped) snapshot = swapped->snapshot;
      if (!swapped) ended = Failure(std::move(swapped).error());
    }
    if (ended) {  // the original: it dies now, or takes the build back
      EXPECT_LT(snapshot, 100ms);
      meet(stack);
      const auto deadline = stack.now() + kPatience;
      while (stack.incidents().empty() && stack.now() < deadline) stack.sleep_for(10ms);
      if (fault.then != Then::kSwapsBack || stack.incidents().empty()) {
        ADD_FAILURE() << "the stack goes on as if nothing had been";
        return;
      }
    }

    // What happened, what was done, what runs now.
    EXPECT_EQ(resumed, fault.then == Then::kGoesBack);
    const unsigned generation = fault.by == By::kUnload ? 2 : fault.then == Then::kSwapsBack ? 3 : 1;
    if (fault.then == Then::kServesOn) {
      ASSERT_FALSE(ended);
      for (const char* part : fault.told) EXPECT_NE(ended.error().message().find(part), std::string::npos) << ended.error().message();
    } else {
      ASSERT_EQ(stack.incidents().size(), 1u);
      const Incident& incident = stack.incidents().front();
      std::printf("%s\n  %.2f ms\n", incident.text().c_str(), double(incident.took.count()) / 1e6);
      for (const char* part : fault.told) EXPECT_NE(incident.what.find(part), std::string::npos) << incident.what;
      if (fault.line != nullptr) {
        const auto place = place_of(source, fault.line);
        EXPECT_NE(incident.what.find(place), std::string::npos) << place << " in: " << incident.what;
        EXPECT_NE(kernel_log(stack).find(" " + place), std::string::npos) << place << " in: " << kernel_log(stack);
      }
      EXPECT_NE(incident.done.find(fault.then == Then::kGoesBack ? "as it was before" : "swapped back"), std::string::npos);
      EXPECT_EQ(incident.runs, fmt::format("matrix@{} serves", generation));
      EXPECT_LT(incident.took, sanitizer::kEnabled ? 10s : 1s);
    }
    const auto modules = stack.modules();
    ASSERT_TRUE(modules);
    ASSERT_EQ(modules->size(), 1u);
    EXPECT_EQ(modules->front().generation, generation);
    EXPECT_EQ(modules->front().state, "live");
    EXPECT_EQ(stack.sysctl("kernel.panic_on_oops").value(), "0");

    // The next one, which is good; then the flows, which have noticed nothing.
    expect_carries(stack, {bystander.get(), other.get()});
    const auto next = stack.swap(better, {.snapshot = true, .parameters = ""});
    ASSERT_TRUE(next) << next.error().message();
    expect_carries(stack, {bystander.get(), other.get()});
    expect_intact(stack, *bystander, "cubic");
    expect_intact(stack, *other, "reno");
    expect_intact(stack, *flow, "matrix");
  });
}

/// With no copy to go on in: a stack that is not sound must end, so that it can be started again, and not go on with what
/// a dead task has locked.
class AFaultWithoutACopy : public AFaultOfANewBuild {};

TEST_P(AFaultWithoutACopy, EndsTheStackUnlessThatIsSound) {
  const Fault& fault = GetParam();
  const auto good = plugin("matrix", 1);
  const auto bad = plugin("matrix", 2);
  const auto ended = try_run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(good));
    const auto bystander = start_flow(stack, "cubic");
    ASSERT_TRUE(bystander);
    // From before the swap on, so that the new code may meet it as soon as it serves: before the swap has ended.
    const auto stop = std::make_shared<bool>(false);
    ASSERT_TRUE(stack.spawn("meets it", [&, stop] {
      while (!*stop) {
        meet(stack);
        stack.sleep_for(1ms);
      }
    }));
    const auto swapped = stack.swap(bad, {.watch = true, .parameters = fmt::format("fault=\"{}\"", fault.name)});
    ASSERT_TRUE(swapped) << swapped.error().message();
    const auto deadline = stack.now() + kPatience;
    while (stack.incidents().empty() && stack.now() < deadline) stack.sleep_for(10ms);
    *stop = true;
    if (fault.then != Then::kSwapsBack) FAIL() << "the stack goes on as if nothing had been";
    ASSERT_EQ(stack.incidents().size(), 1u);
    for (const char* part : fault.told) EXPECT_NE(stack.incidents().front().what.find(part), std::string::npos);
    EXPECT_NE(stack.incidents().front().done.find("swapped back"), std::string::npos) << stack.incidents().front().done;
    expect_intact(stack, *bystander, "cubic");
  });
  if (fault.then == Then::kSwapsBack) {
    EXPECT_TRUE(ended) << ended.error().message();
  } else {
    expect_refused(ended, ENOTRECOVERABLE, {fault.told.begin(), fault.told.end()});
  }
}

std::string test_name(const ::testing::TestParamInfo<Fault>& info) {
  std::string name;
  bool upper = true;
  for (const char* c = info.param.name; *c != '\0'; ++c) {
    if (*c == ' ') {
      upper = true;
    } else {
      name += upper ? char(std::toupper(*c)) : *c;
      upper = false;
    }
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, AFaultOfANewBuild,
    ::testing::Values(
        Fault{.name = "null in init", .told = {"bad memory access at address 0x0", "task"}, .line = "*nowhere = 1"},
        Fault{.name = "null in a socket call", .by = By::kASocketCall,
              .told = {"bad memory access at address 0x0 in dereference", "in task", "victim"}, .line = "*nowhere = 1"},
        Fault{.name = "null in softirq", .told = {"bad memory access at address 0x0 in dereference", "in softirq"},
              .line = "*nowhere = 1"},
        Fault{.name = "null in a timer", .told = {"bad memory access at address 0x0 in dereference", "in softirq"},
              .line = "*nowhere = 1"},
        Fault{.name = "null in exit", .by = By::kUnload,
              .told = {"bad memory access at address 0x0 in dereference", "in task"}, .line = "*nowhere = 1"},
        Fault{.name = "use after free", .by = By::kAWrite,
              .told = {"bad memory access at no address", "memory that was freed before", "use_after_free"},
              .line = "object->next->value = 1", .cmdline = "slab_debug=FZPU"},
        Fault{.name = "full stack", .by = By::kAWrite, .told = {"bad memory access", "fill_stack"}, .line = "room[0] = above[0]"},
        Fault{.name = "division", .by = By::kAWrite, .told = {"divide error in divide"}, .line = "zero = 100 / zero"},
        Fault{.name = "bug", .by = By::kAWrite, .told = {"BUG() in assert_it"}, .line = "BUG();"},
        Fault{.name = "warnings", .then = Then::kSwapsBack, .told = {"warnings within a second", "warn"},
              .line = "WARN(1"},
        Fault{.name = "loop", .by = By::kAWrite, .told = {"endless loop in loop", "in task"}, .line = "while (for_ever)"},
        Fault{.name = "loop in softirq", .told = {"endless loop in loop", "in softirq"}, .line = "while (for_ever)"},
        Fault{.name = "loop without irqs", .by = By::kAWrite, .told = {"endless loop in loop_without_irqs"}},
        Fault{.name = "loop with irqs", .by = By::kAWrite, .told = {"endless loop", "loop_with_irqs"}},
        Fault{.name = "polite loop", .by = By::kAWrite, .told = {"does not come out of a system call", "loop_politely"}},
        Fault{.name = "deadlock", .by = By::kAWrite, .told = {"waits for ever for a lock in lock_twice", "victim"}},
        Fault{.name = "sleep in softirq", .told = {"slept where that is forbidden in sleep_in_softirq", "in softirq"},
              .line = "msleep(1)"},
        Fault{.name = "sleep with a spinlock", .by = By::kAWrite,
              .told = {"slept where that is forbidden in sleep_with_spinlock"}, .line = "msleep(2)"},
        Fault{.name = "double unregister", .by = By::kAWrite,
              .told = {"a list entry that was deleted before", "unregister_twice"}},
        Fault{.name = "failing init", .then = Then::kServesOn, .told = {"the new init failed", "generation 1 serves on"}}),
    test_name);

INSTANTIATE_TEST_SUITE_P(
    Matrix, AFaultWithoutACopy,
    ::testing::Values(
        Fault{.name = "null in a socket call", .by = By::kASocketCall, .then = Then::kEnds,
              .told = {"bad memory access at address 0x0 in dereference", "in task", "victim"}},
        Fault{.name = "loop", .by = By::kAWrite, .then = Then::kEnds, .told = {"endless loop in loop", "in task"}},
        Fault{.name = "polite loop", .by = By::kAWrite, .then = Then::kEnds,
              .told = {"does not come out of a system call", "loop_politely"}},
        Fault{.name = "deadlock", .by = By::kAWrite, .then = Then::kEnds,
              .told = {"waits for ever for a lock in lock_twice", "victim"}},
        Fault{.name = "sleep with a spinlock", .by = By::kAWrite, .then = Then::kSwapsBack,
              .told = {"slept where that is forbidden in sleep_with_spinlock"}}),
    test_name);

}  // namespace
}  // namespace lkm
