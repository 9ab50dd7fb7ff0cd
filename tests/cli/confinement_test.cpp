// SPDX-License-Identifier: GPL-2.0
//
// Both are for processes of their own: a child gives up its rights, or is kept.
#include "tools/lkm-run/confinement.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>

#include "libos-runtime/host/sanitizer.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "tools/lkm-run/keeper.hpp"

namespace lkm::cli {
namespace {

/// The exit status of a child that runs `body`.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// errno of a call that a confined process makes; 0 when it succeeds.
int confined(const std::function<long()>& call) {
  return in_child([&] {
    if (!confine()) return 255;
    return call() < 0 ? errno : 0;
  });
}

TEST(Confinement, RefusesWhatAStackDoesNotNeed) {
  EXPECT_EQ(confined([] { return ::execl("/bin/true", "true", nullptr); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::mount("none", "/", nullptr, MS_REMOUNT, nullptr); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::unshare(CLONE_NEWUSER); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); }), ENOSYS);
  // LeakSanitizer needs it.
  if (!sanitizer::kEnabled) {
    EXPECT_EQ(confined([] { return ::ptrace(PTRACE_TRACEME, 0, 0, 0); }), ENOSYS);
  }
  EXPECT_EQ(confined([] { return ::syscall(SYS_bpf, BPF_MAP_CREATE, nullptr, 0); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_init_module, nullptr, 0, ""); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::setuid(0); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::syscall(0x40000000 | SYS_getpid); }), ENOSYS);
  EXPECT_EQ(confined([] { return ::socket(AF_INET, SOCK_STREAM, 0); }), EAFNOSUPPORT);
  EXPECT_EQ(confined([] { return ::socket(AF_NETLINK, SOCK_RAW, 0); }), EAFNOSUPPORT);
}

TEST(Confinement, KeepsAStackFromTypingOnTerminals) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  // The first of a session may get a terminal, so the filter is there, and does not ask what the descriptor is.
  EXPECT_EQ(in_child([&] {
              ::setsid();
              if (!confine()) return 255;
              return ::ioctl(ends[0], TIOCSTI, "x") < 0 ? errno : 0;
            }),
            EPERM);
  // Others never will: it is the kernel that refuses, and the filter is not there.
  const auto without_terminal = [](const std::function<long()>& call) {
    return in_child([&] {
      ::setsid();
      return confined(call);
    });
  };
  EXPECT_EQ(without_terminal([&] { return ::ioctl(ends[0], TIOCSTI, "x"); }), ENOTTY);
  const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_TRUE(master && ::grantpt(master.get()) == 0 && ::unlockpt(master.get()) == 0);
  const std::string name = ::ptsname(master.get());
  EXPECT_NE(without_terminal([&] { return ::ioctl(::open(name.c_str(), O_RDWR), TIOCSTI, "x"); }), 0);
  EXPECT_EQ(without_terminal([&] { return ::ioctl(::open(name.c_str(), O_RDWR), TIOCSCTTY, 0); }), EPERM);
  EXPECT_EQ(without_terminal([] { return ::setsid(); }), ENOSYS);
}

TEST(Confinement, AllowsWhatAStackNeeds) {
  EXPECT_EQ(confined([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }), 0);
  EXPECT_EQ(confined([] { return ::open("/proc/self/status", O_RDONLY); }), 0);
  EXPECT_EQ(confined([] {
              int status = 1;
              const pid_t copy = ::fork();
              if (copy == 0) ::_exit(0);
              return ::waitpid(copy, &status, 0) == copy && status == 0 ? 0L : -1L;
            }),
            0);
  EXPECT_EQ(confined([] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0L : -1L; }), 0);
}

TEST(Keeper, EndsAsItsChildEnds) {
  const auto kept = [](const std::function<int()>& body) {
    return in_child([&] {
      const auto keeper = Keeper::begin("/nowhere", [] {});
      return keeper ? body() : 255;
    });
  };
  EXPECT_EQ(kept([] { return 7; }), 7);
  EXPECT_EQ(kept([] { return ::raise(SIGKILL); }), 128 + SIGKILL);
}

TEST(Keeper, MountsBelowTheFolderOfItsStackOnly) {
  const auto folder = TempDir::make();
  ASSERT_TRUE(folder);
  EXPECT_EQ(in_child([&] {
              const auto keeper = Keeper::begin(folder->path() / "mine", [] {});
              if (!keeper) return 255;
              for (const auto* place : {"/etc", "mine", "mine/../other", "other", "minestrone"}) {
                const auto mounted = (*keeper)->mount(folder->path() / place);
                if (mounted || mounted.error().errno_value() != EPERM || (*keeper)->unmount(folder->path() / place)) return 1;
              }
              return 0;
            }),
            0);
  EXPECT_FALSE(std::filesystem::exists(folder->path() / "other"));
}

TEST(Keeper, StartsAgainWhatAsksForIt) {
  EXPECT_EQ(in_child([] {
              const auto keeper = Keeper::begin("/nowhere", [] { ::_exit(42); });
              if (keeper) (*keeper)->start_again();
              return 255;
            }),
            42);
}

}  // namespace
}  // namespace lkm::cli
