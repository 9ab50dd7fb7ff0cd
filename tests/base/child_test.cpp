// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/child.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cerrno>

#include "toolkit/base/defer.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;
using Output = Child::Output;

Child shell(const std::string& script, Child::Options options = {}) {
  options.argv = {"sh", "-c", script};
  auto child = Child::spawn(options);
  EXPECT_TRUE(child) << child.error().message();
  return std::move(child.value());
}

// A pid is gone, or a zombie that its (new) parent has not yet taken.
bool ended(pid_t pid) {
  auto status = Child::spawn(
      {.argv = {"sh", "-c", fmt::format("grep -q '^State:.[ZX]' /proc/{}/status", pid)},
       .err = Output::kNull});
  return ::kill(pid, 0) != 0 || status->wait()->success();
}

TEST(Child, GivesTheExitCode) {
  EXPECT_EQ(shell("exit 7").wait()->code, 7);
  EXPECT_TRUE(shell("exit 0").wait()->success());
}

TEST(Child, GivesTheSignalThatEndedIt) {
  const auto status = shell("kill -TERM $$").wait();
  EXPECT_EQ(status->signal, SIGTERM);
  EXPECT_EQ(status->code, 128 + SIGTERM);
}

TEST(Child, GivesTheSameStatusWhenWaitedForTwice) {
  Child child = shell("exit 3");
  EXPECT_EQ(child.wait()->code, 3);
  EXPECT_EQ(child.wait()->code, 3);
}

TEST(Child, KeepsOutputAndErrorsApart) {
  Child child = shell("echo out; echo err >&2", {.out = Output::kPipe, .err = Output::kPipe});
  ASSERT_TRUE(child.wait()->success());
  EXPECT_EQ(*child.read_all(), "out\n");
  char text[16] = {};
  EXPECT_EQ(::read(child.err().get(), text, sizeof text), 4);
  EXPECT_STREQ(text, "err\n");
}

TEST(Child, MergesErrorsIntoOutputInOrder) {
  Child child =
      shell("echo 1; echo 2 >&2; echo 3", {.out = Output::kPipe, .err = Output::kWithOut});
  EXPECT_EQ(*child.read_all(), "1\n2\n3\n");
}

TEST(Child, ReadsMoreThanAPipeHolds) {
  Child child = shell("head -c 1000000 /dev/zero", {.out = Output::kPipe});
  EXPECT_EQ(child.read_all()->size(), 1000000u);
  EXPECT_TRUE(child.wait()->success());
}

TEST(Child, HasNoStandardInput) {
  Child child = shell("cat; echo end", {.out = Output::kPipe});
  EXPECT_EQ(*child.read_all(), "end\n");
}

TEST(Child, RunsInTheGivenDirectoryAndEnvironment) {
  ::setenv("LKM_TEST_KEPT", "kept", 1);
  ::setenv("LKM_TEST_GONE", "gone", 1);
  Child child = shell("pwd; echo $LKM_TEST_KEPT-$LKM_TEST_GONE-$LKM_TEST_NEW",
                      {.directory = "/proc",
                       .environment = {{"LKM_TEST_GONE", std::nullopt}, {"LKM_TEST_NEW", "new"}},
                       .out = Output::kPipe});
  EXPECT_EQ(*child.read_all(), "/proc\nkept--new\n");
}

TEST(Child, NamesTheProgramThatIsMissing) {
  const auto child = Child::spawn({.argv = {"lkm-no-such-program"}});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().errno_value(), ENOENT);
  EXPECT_NE(child.error().what().find("lkm-no-such-program"), std::string::npos);
}

TEST(Child, NamesTheDirectoryThatIsMissing) {
  const auto child = Child::spawn({.argv = {"true"}, .directory = "/no/such/folder"});
  ASSERT_FALSE(child);
  EXPECT_NE(child.error().what().find("/no/such/folder"), std::string::npos);
}

TEST(Child, RefusesAnEmptyCommand) { EXPECT_FALSE(Child::spawn({})); }

TEST(Child, TakesItsGroupWithItWhenDropped) {
  pid_t grandchild = 0;
  {
    Child child = shell("sleep 1000 & echo $!; wait", {.out = Output::kPipe});
    struct pollfd poll = {.fd = child.out().get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&poll, 1, 10'000), 1);
    char text[16] = {};
    ASSERT_GT(::read(child.out().get(), text, sizeof text - 1), 0);
    grandchild = std::atoi(text);
    ASSERT_GT(grandchild, 1);
    EXPECT_FALSE(ended(grandchild));
  }
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!ended(grandchild) && std::chrono::steady_clock::now() < deadline) {
  }
  EXPECT_TRUE(ended(grandchild));
}

TEST(Child, IsStoppedByATermSignalThatItMayHandle) {
  Child child = shell("trap 'echo cleaned; exit 5' TERM; echo ready; while :; do sleep 0.01; done",
                      {.out = Output::kPipe, .err = Output::kNull});
  struct pollfd poll = {.fd = child.out().get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&poll, 1, 10'000), 1);
  EXPECT_EQ(child.stop(10s)->code, 5);
  EXPECT_EQ(*child.read_all(), "ready\ncleaned\n");
}

TEST(Child, IsKilledWhenItIgnoresTheTermSignal) {
  Child child =
      shell("trap '' TERM; echo ready; while :; do sleep 0.01; done", {.out = Output::kPipe});
  struct pollfd poll = {.fd = child.out().get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&poll, 1, 10'000), 1);
  EXPECT_EQ(child.stop(20ms)->signal, SIGKILL);
}

TEST(Child, HasDefaultSignalActionsWhateverTheCallerIgnores) {
  ::signal(SIGTERM, SIG_IGN);
  auto restore = defer([] { ::signal(SIGTERM, SIG_DFL); });
  EXPECT_EQ(shell("kill -TERM $$; exit 0").wait()->signal, SIGTERM);
}

TEST(Child, TellsThatItStillRunsAtTheTimeLimit) {
  Child child = shell("sleep 1000");
  EXPECT_FALSE(child.wait_for(1ms)->has_value());
  struct pollfd poll = {.fd = child.pidfd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&poll, 1, 0), 0);
  child.signal(SIGKILL);
  EXPECT_EQ(::poll(&poll, 1, 10'000), 1);
  EXPECT_EQ(child.wait()->signal, SIGKILL);
}

TEST(Child, IsWaitedForAcrossInterruptingSignals) {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART: every blocking call ends with EINTR
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const struct itimerval often {
    {0, 1000}, { 0, 1000 }
  };
  const struct itimerval off {};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  auto restore = defer([&] {
    ::setitimer(ITIMER_REAL, &off, nullptr);
    ::sigaction(SIGALRM, &before, nullptr);
  });
  Child child = shell("sleep 0.1; echo late; exit 4", {.out = Output::kPipe});
  EXPECT_EQ(*child.read_all(), "late\n");
  EXPECT_EQ(child.wait()->code, 4);
}

TEST(Child, RunsOnAfterAMoveAndAfterASelfMove) {
  Child first = shell("exit 6");
  Child second = std::move(first);
  Child& alias = second;
  second = std::move(alias);
  EXPECT_EQ(second.wait()->code, 6);
}

TEST(Child, LeavesErrnoAloneWhenDropped) {
  {
    Child child = shell("sleep 1000");
    errno = ENOTTY;
  }
  EXPECT_EQ(errno, ENOTTY);
}

TEST(Child, GetsItsPipesEvenWhenStandardOutputIsClosed) {
  // In a process of its own, whose descriptors 0 to 2 are closed when the pipes are made.
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    for (int fd : {0, 1, 2}) ::close(fd);
    auto child = Child::spawn({.argv = {"sh", "-c", "echo out; echo err >&2"},
                               .out = Output::kPipe,
                               .err = Output::kPipe});
    if (!child) ::_exit(1);
    const auto out = child->read_all();
    if (!out || *out != "out\n") ::_exit(2);
    char text[16] = {};
    if (::read(child->err().get(), text, sizeof text) != 4) ::_exit(3);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace lkm
