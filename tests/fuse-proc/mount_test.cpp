// SPDX-License-Identifier: GPL-2.0
//
// The mount of a stack that runs in this process, used by other processes as its users would. This
// process never touches it. Without LKM_RUN_IMAGE or the right to mount the tests are skipped.
#include "tests/fuse-proc/mount_test.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <map>

#include "fuse-proc/stale_mount.hpp"
#include "toolkit/base/file.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

bool mounted_at(const std::filesystem::path& path) {
  const auto entries = fuse::parse_mountinfo(*read_file("/proc/self/mountinfo"));
  const std::string wanted = *fuse::mountinfo_path(path);
  return std::any_of(entries.begin(), entries.end(),
                     [&](const auto& entry) { return entry.mount_point == wanted; });
}

// -- reading -------------------------------------------------------------------------------------

TEST_F(MountTest, ShowsProcAndSysAndNothingElse) {
  with_mount([&] {
    EXPECT_EQ(shell("ls $M"), "proc\nsys\n");
    EXPECT_EQ(shell("stat -c %F $M/proc $M/sys"), "directory\ndirectory\n");
    EXPECT_EQ(shell("ls $M/dev"),
              "ls: cannot access '" + path("dev") + "': No such file or directory\nexit 2\n");
  });
}

TEST_F(MountTest, GivesFilesAsTheStackHasThem) {
  with_mount([&] {
    EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version"));
    EXPECT_EQ(shell("cat $M/proc/sys/net/ipv4/tcp_congestion_control"),
              *stack().sysctl("net.ipv4.tcp_congestion_control") + "\n");
    EXPECT_EQ(shell("cat $M/sys/class/net/lo/address"), "00:00:00:00:00:00\n");
    EXPECT_EQ(shell("head -n 1 $M/proc/net/tcp"),
              stack().read_file("/proc/net/tcp")->substr(0, 150));
  });
}

TEST_F(MountTest, ShowsModesAndOwnersAndTheSizeZero) {
  with_mount([&] {
    EXPECT_EQ(shell("stat -c '%A %U %s' $M/proc/version"), "-r--r--r-- root 0\n");
    EXPECT_EQ(shell("stat -c '%A' $M/proc/sys/net/ipv4/route/flush"), "--w-------\n");
    EXPECT_EQ(shell("stat -c '%A' $M/proc/sys/net/ipv4/tcp_sack"), "-rw-r--r--\n");
    EXPECT_EQ(shell("stat -c '%A' $M/proc/net"), "lrwxrwxrwx\n");
  });
}

TEST_F(MountTest, ALargeFileReadInSmallPiecesIsOneViewOfItPerOpen) {
  with_probe([&] {
    // Two readers take turns, so that one descriptor for both would send each back to the start.
    const std::string passes = in_host_process([&] {
      const std::string name = path("proc/fuseprobe/numbers");
      const int one = ::open(name.c_str(), O_RDONLY);
      const int two = ::open(name.c_str(), O_RDONLY);
      std::string first;
      std::string second;
      char piece[7];
      for (ssize_t n = 1, m = 1; n > 0 || m > 0;) {
        n = ::read(one, piece, sizeof(piece));
        if (n > 0) first.append(piece, static_cast<std::size_t>(n));
        m = ::read(two, piece, 5);
        if (m > 0) second.append(piece, static_cast<std::size_t>(m));
      }
      std::map<std::string, int> lines;  // by what comes after the number
      int number = 0;
      for (const std::string* text : {&first, &second}) {
        number = 0;
        for (std::size_t at = 0; at < text->size(); ++number) {
          const std::size_t end = std::min(text->find('\n', at), text->size());
          const std::string line = text->substr(at, end - at);
          const std::string wanted = std::to_string(number) + " of ";
          if (!line.starts_with(wanted)) return "line " + wanted + "is: " + line;
          ++lines[line.substr(wanted.size())];
          at = end + 1;
        }
      }
      std::string summary;
      for (const auto& [pass, count] : lines) summary += fmt::format("{}: {}\n", pass, count);
      return summary;
    });
    EXPECT_EQ(passes, "pass 1: 20000\npass 2: 20000\n");
  });
}

TEST_F(MountTest, ReadsAtAnyOffset) {
  with_probe([&] {
    EXPECT_EQ(shell("tail -n 1 $M/proc/fuseprobe/numbers | cut -d' ' -f1"), "19999\n");
    EXPECT_EQ(shell("cat $M/proc/fuseprobe/numbers | cut -d' ' -f1 | cksum"),
              shell("seq 0 19999 | cksum"));
    EXPECT_EQ(shell("dd if=$M/proc/fuseprobe/numbers bs=1 skip=5 count=4 2>/dev/null"), "pass");
    EXPECT_EQ(shell("dd if=$M/proc/modules bs=1 2>/dev/null | cmp - $M/proc/modules && echo same"),
              "same\n");
  });
}

// -- writing -------------------------------------------------------------------------------------

TEST_F(MountTest, WritesReachTheStack) {
  with_probe([&] {
    EXPECT_EQ(shell("echo 0 > $M/proc/sys/net/ipv4/tcp_sack"), "");
    EXPECT_EQ(*stack().sysctl("net.ipv4.tcp_sack"), "0");
    EXPECT_EQ(shell("echo 1 >> $M/proc/sys/net/ipv4/tcp_sack; "
                    "echo 1 >> $M/proc/sys/net/ipv4/tcp_sack"),
              "");
    EXPECT_EQ(*stack().sysctl("net.ipv4.tcp_sack"), "1");
    EXPECT_EQ(shell("echo 5 > $M/sys/kernel/fuseprobe/counter; "
                    "cat $M/sys/kernel/fuseprobe/counter"),
              "5\n");
    EXPECT_EQ(shell("echo some text > $M/proc/fuseprobe/note; cat $M/proc/fuseprobe/note"),
              "some text\n");
    EXPECT_EQ(shell("echo 9 > $M/sys/module/fuseprobe/parameters/error"), "");
    EXPECT_EQ(*stack().read_file("/sys/module/fuseprobe/parameters/error"), "9\n");
  });
}

TEST_F(MountTest, MakesAndRemovesFoldersWhereTheStackDoes) {
  with_mount([&] {
    if (shell("test -d $M/sys/kernel/tracing/instances || echo none") == "none\n") {
      GTEST_SKIP() << "the kernel has no tracefs";
    }
    EXPECT_EQ(shell("cd $M/sys/kernel/tracing/instances && mkdir one && ls one/trace && "
                    "echo text > one/trace_marker && grep -c text one/trace && rmdir one && ls"),
              "one/trace\n1\n");
    EXPECT_EQ(shell("mkdir $M/proc/folder"), "mkdir: cannot create directory '" +
                                                 path("proc/folder") +
                                                 "': No such file or directory\nexit 1\n");
  });
}

// -- errors --------------------------------------------------------------------------------------

TEST_F(MountTest, PassesTheErrorsOfTheStackThrough) {
  with_probe([&] {
    const auto open_error = [&](const char* name, int flags) {
      return in_host_process([&] {
        const int fd = ::open(path(name).c_str(), flags);
        return std::string(fd < 0 ? strerrorname_np(errno) : "opened");
      });
    };
    const auto write_error = [&](const char* name, const char* text) {
      return in_host_process([&] {
        const int fd = ::open(path(name).c_str(), O_WRONLY);
        const ssize_t n = ::write(fd, text, std::strlen(text));
        return std::string(n < 0 ? strerrorname_np(errno) : "written");
      });
    };
    EXPECT_EQ(open_error("proc/nothing", O_RDONLY), "ENOENT");
    EXPECT_EQ(open_error("proc/1/nothing", O_RDONLY), "ENOENT");
    EXPECT_EQ(open_error("proc/version/x", O_RDONLY), "ENOTDIR");
    EXPECT_EQ(open_error("proc/sys", O_WRONLY), "EISDIR");
    EXPECT_EQ(open_error("proc/sys/net/ipv4/route/flush", O_RDONLY), "EACCES");
    EXPECT_EQ(open_error("proc/sys/kernel/ostype", O_WRONLY), "EACCES");
    EXPECT_EQ(write_error("proc/sys/net/ipv4/tcp_congestion_control", "nosuchthing\n"), "ENOENT");
    EXPECT_EQ(write_error("proc/sys/net/ipv4/tcp_sack", "word\n"), "EINVAL");
    EXPECT_EQ(write_error("sys/kernel/fuseprobe/counter", "word\n"), "EINVAL");
    EXPECT_EQ(write_error("proc/version", "x"), "EIO");
    for (const int error : {EPERM, EIO, EACCES, EBUSY, ENODEV, EPIPE, ERANGE}) {
      ASSERT_TRUE(
          stack().write_file("/sys/module/fuseprobe/parameters/error", std::to_string(error)));
      EXPECT_EQ(
          shell("cat $M/proc/fuseprobe/error"),
          fmt::format("cat: {}: {}\nexit 1\n", path("proc/fuseprobe/error"), std::strerror(error)));
    }
  });
}

TEST_F(MountTest, AnErrorThatTheHostCannotCarryDoesNotLeaveTheReaderWaiting) {
  with_probe([&] {
    for (const int error : {ENOSYS, 524, 600}) {
      ASSERT_TRUE(
          stack().write_file("/sys/module/fuseprobe/parameters/error", std::to_string(error)));
      EXPECT_NE(shell("cat $M/proc/fuseprobe/error").find("exit 1"), std::string::npos);
    }
    EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version"));
  });
}

TEST_F(MountTest, AFileWhoseHandlerOopsesGivesEioAndTheRestServesOn) {
  expect_in_log("BUG: .*NULL pointer dereference|Oops");
  with_probe([&] {
    const std::string twice = in_host_process([&] {
      const int fd = ::open(path("proc/fuseprobe/oops").c_str(), O_RDONLY);
      std::string errors;
      for (int i = 0; i < 2; ++i) {
        char byte;
        errors += ::read(fd, &byte, 1) < 0 ? strerrorname_np(errno) : "read";
        errors += ' ';
      }
      return errors;
    });
    EXPECT_EQ(twice, "EIO EIO ");
    EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version"));
    EXPECT_EQ(shell("ls $M/proc/fuseprobe"), "error\nnote\nnumbers\noops\n");
  });
}

TEST_F(MountTest, WhatVanishesIsGoneAtOnceAndComesBackAsAnother) {
  with_probe([&] {
    EXPECT_EQ(shell("cd $M/sys/module/fuseprobe && cat parameters/error"), "5\n");
    HostProcess inside = start_shell(
        "cd $M/sys/module/fuseprobe && exec 3<$M/proc/fuseprobe/numbers && echo ready && read x && "
        "cat parameters/error; cat <&3 | wc -c; test -e $M/proc/fuseprobe || echo gone");
    ASSERT_EQ(inside.read_line(), "ready");
    ASSERT_TRUE(stack().unload("fuseprobe"));
    EXPECT_EQ(shell("ls $M/proc/fuseprobe; ls $M/sys/module/fuseprobe"),
              fmt::format("ls: cannot access '{}': No such file or directory\n"
                          "ls: cannot access '{}': No such file or directory\nexit 2\n",
                          path("proc/fuseprobe"), path("sys/module/fuseprobe")));
    load_probe("error=7");
    EXPECT_EQ(shell("cat $M/sys/module/fuseprobe/parameters/error"), "7\n");
    inside.write("\n");
    const std::string text = inside.finish();
    EXPECT_EQ(text.find("7"), std::string::npos) << "the old folder shows the new module: " << text;
    EXPECT_NE(text.find("parameters/error: No such file or directory"), std::string::npos) << text;
  });
}

// -- folders and links ---------------------------------------------------------------------------

TEST_F(MountTest, ListsFoldersAtAnyOffset) {
  with_mount([&] {
    EXPECT_EQ(shell("ls $M/proc/sys/net/ipv4 | sort"), [&] {
      return shell("find $M/proc/sys/net/ipv4 -mindepth 1 -maxdepth 1 -printf '%f\\n' | sort");
    }());
    const std::string trouble = in_host_process([&] {
      DIR* const folder = ::opendir(path("proc/sys/net/ipv4").c_str());
      std::vector<std::pair<long, std::string>> entries;
      for (long at = ::telldir(folder); const dirent* entry = ::readdir(folder);
           at = ::telldir(folder)) {
        entries.emplace_back(at, entry->d_name);
      }
      if (entries.size() < 100) return fmt::format("only {} entries", entries.size());
      for (std::size_t i = entries.size(); i-- > 0;) {
        ::seekdir(folder, entries[i].first);
        const dirent* entry = ::readdir(folder);
        if (entry == nullptr || entry->d_name != entries[i].second) {
          return fmt::format("entry {} is not {} again", i, entries[i].second);
        }
      }
      return std::string();
    });
    EXPECT_EQ(trouble, "");
  });
}

TEST_F(MountTest, LinksLeadToPlacesInTheMount) {
  with_mount([&] {
    EXPECT_EQ(shell("readlink $M/proc/net"), "self/net\n");
    EXPECT_EQ(shell("head -c 6 $M/proc/net/dev"), "Inter-");
    EXPECT_EQ(shell("cat $M/proc/self/comm $M/proc/thread-self/comm"),
              "fuse-dispatch\nfuse-dispatch\n");
    EXPECT_EQ(shell("realpath $M/sys/class/net/lo"), path("sys/devices/virtual/net/lo") + "\n");
    EXPECT_EQ(shell("realpath $M/proc/1/root $M/proc/1/cwd"), path("") + "\n" + path("") + "\n");
    EXPECT_EQ(shell("grep -c ' /proc ' $M/proc/mounts"), "1\n");
  });
}

TEST_F(MountTest, NoLinkLeadsOut) {
  with_mount([&] {
    EXPECT_EQ(shell("find $M -type l -printf '%p\\n' 2>/dev/null | xargs realpath -m -- | "
                    "grep -v \"^$M\" | head"),
              "");
  });
}

TEST_F(MountTest, FindAndGrepOverEverythingEnd) {
  with_mount([&] {
    const std::string files = shell("find $M 2>&1 | tee list | wc -l; grep -c loop list");
    EXPECT_GT(std::atoi(files.c_str()), 500) << files;
    EXPECT_EQ(files.substr(files.find('\n') + 1), "0\nexit 1\n");
    EXPECT_EQ(shell("grep -rs fuse-dispatch $M/proc/self/comm $M/sys $M/proc | grep -c self/comm"),
              "1\n");
  });
}

// -- waiting -------------------------------------------------------------------------------------

TEST_F(MountTest, AReaderOfKmsgWaitsForTextAndHoldsUpNobody) {
  with_probe([&] {
    HostProcess reader =
        start_shell("echo ready; grep -m1 'counter is 41' $M/proc/kmsg | sed 's/.*] //'");
    ASSERT_EQ(reader.read_line(), "ready");
    EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version"));
    EXPECT_EQ(shell("echo 41 > $M/sys/kernel/fuseprobe/counter"), "");
    EXPECT_EQ(reader.finish(), "counter is 41\n");
  });
}

TEST_F(MountTest, ASignalEndsABlockedRead) {
  with_mount([&] {
    const std::string result = in_host_process([&] {
      struct sigaction action = {};
      action.sa_handler = [](int) {};
      ::sigaction(SIGALRM, &action, nullptr);
      const int fd = ::open(path("proc/kmsg").c_str(), O_RDONLY);
      ::ualarm(200'000, 50'000);
      char text[8192];
      while (::read(fd, text, sizeof(text)) > 0) continue;  // what was logged so far
      return std::string(strerrorname_np(errno));
    });
    EXPECT_EQ(result, "EINTR");
    EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version"));
  });
}

TEST_F(MountTest, ABlockedReaderCanBeKilled) {
  with_mount([&] {
    for (int i = 0; i < 20; ++i) {
      HostProcess reader = start_shell("echo ready; exec cat $M/proc/kmsg >/dev/null");
      ASSERT_EQ(reader.read_line(), "ready");
      reader.kill();
      EXPECT_EQ(reader.finish(), "exit 137\n");
    }
    EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version"));
  });
}

TEST_F(MountTest, NonBlockingReadsDoNotWait) {
  with_mount([&] {
    const std::string result = in_host_process([&] {
      std::string errors;
      char text[8192];
      const int fd = ::open(path("proc/kmsg").c_str(), O_RDONLY | O_NONBLOCK);
      while (::read(fd, text, sizeof(text)) > 0) continue;
      errors += strerrorname_np(errno);
      const int late = ::open(path("proc/kmsg").c_str(), O_RDONLY);
      ::fcntl(late, F_SETFL, O_NONBLOCK);
      while (::read(late, text, sizeof(text)) > 0) continue;
      return errors + " " + strerrorname_np(errno);
    });
    EXPECT_EQ(result, "EAGAIN EAGAIN");
  });
}

TEST_F(MountTest, PollOnASysfsAttributeWakesWhenItIsNotified) {
  with_probe([&] {
    HostProcess poller = start_host_process([&](int out) {
      const int fd = ::open(path("sys/kernel/fuseprobe/counter").c_str(), O_RDONLY);
      const auto read_counter = [&] {
        char text[32] = {};
        return std::string(text, static_cast<std::size_t>(
                                     std::max<ssize_t>(::pread(fd, text, sizeof(text), 0), 0)));
      };
      read_counter();
      std::string said;
      for (int i = 0; i < 3; ++i) {
        struct pollfd attribute = {fd, POLLPRI, 0};
        const int early = ::poll(&attribute, 1, 0);
        (void)!::write(out, "ready\n", 6);
        const int ready = ::poll(&attribute, 1, 20'000);
        said += fmt::format("{} {} {}{} {}", early, ready, attribute.revents & POLLPRI ? "PRI" : "",
                            attribute.revents & POLLERR ? "|ERR" : "", read_counter());
      }
      (void)!::write(out, said.data(), said.size());
    });
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(poller.read_line(), "ready");
      EXPECT_EQ(shell("echo 1 > $M/sys/kernel/fuseprobe/counter"), "");
    }
    EXPECT_EQ(poller.finish(), "0 1 PRI|ERR 1\n0 1 PRI|ERR 2\n0 1 PRI|ERR 3\n");
  });
}

TEST_F(MountTest, EpollOnAProcFileWakesToo) {
  with_mount([&] {
    HostProcess poller = start_host_process([&](int out) {
      const int fd = ::open(path("proc/sys/kernel/hostname").c_str(), O_RDONLY);
      char text[64];
      (void)!::read(fd, text, sizeof(text));
      const int epoll = ::epoll_create1(0);
      epoll_event event = {.events = EPOLLPRI, .data = {}};
      ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
      epoll_event got;
      std::string said = std::to_string(::epoll_wait(epoll, &got, 1, 0));
      (void)!::write(out, "ready\n", 6);
      said += " " + std::to_string(::epoll_wait(epoll, &got, 1, 20'000));
      (void)!::write(out, said.data(), said.size());
    });
    ASSERT_EQ(poller.read_line(), "ready");
    ASSERT_TRUE(stack().sysctl("kernel.hostname", "another"));
    EXPECT_EQ(poller.finish(), "0 1");
  });
}

TEST_F(MountTest, LeaksNoDescriptorsOfTheStack) {
  with_mount([&] {
    const char* const kCount = "ls $M/proc/self/fd | wc -l";
    const char* const kUse =
        "for i in $(seq 50); do cat $M/proc/version $M/proc/nothing; ls $M/sys/class/net; "
        "timeout -s KILL 0.02 cat $M/proc/kmsg; done >/dev/null 2>&1";
    shell(kUse);
    const std::string before = shell(kCount);
    shell(kUse);
    EXPECT_EQ(shell(kCount), before);
  });
}

// -- the end -------------------------------------------------------------------------------------

TEST_F(MountTest, IsUnmountedAtTheEndWhateverIsUnderWay) {
  with_mount([&] {
    ASSERT_TRUE(mounted_at(path("")));
    HostProcess reader = start_shell("echo ready; cat $M/proc/kmsg >/dev/null");
    ASSERT_EQ(reader.read_line(), "ready");
    unmount();
    EXPECT_FALSE(mounted_at(path("")));
    EXPECT_NE(reader.finish().find("exit 1"), std::string::npos);
  });
}

TEST_F(MountTest, ServesOnAfterItWasUnmountedFromOutside) {
  with_mount([&] {
    shell("umount -l $M || fusermount3 -u -z $M");
    EXPECT_FALSE(mounted_at(path("")));
    unmount();
    EXPECT_TRUE(stack().read_file("/proc/version"));
  });
}

TEST_F(MountTest, RefusesAMountPointThatAnotherServes) {
  with_mount([&] {
    const auto second = FuseProc::mount(stack(), path(""));
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().errno_value(), EBUSY);
    EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version"));
  });
}

TEST_F(MountTest, AStackThatWasKilledLeavesAMountThatIsCleanedAtTheNextStart) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    with_mount([&] {
      (void)!::write(ready[1], "x", 1);
      stack().park();
    });
    ::_exit(1);
  }
  ::close(ready[1]);
  char byte;
  const bool mounted = ::read(ready[0], &byte, 1) == 1;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ::close(ready[0]);
  if (!mounted) GTEST_SKIP() << "needs LKM_RUN_IMAGE, /dev/fuse and the right to mount";

  ASSERT_TRUE(mounted_at(path("")));
  with_mount([&] { EXPECT_EQ(shell("cat $M/proc/version"), *stack().read_file("/proc/version")); });
  EXPECT_FALSE(mounted_at(path("")));
}

}  // namespace
}  // namespace lkm
