// SPDX-License-Identifier: GPL-2.0
#include "toolkit/watch/watcher.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "toolkit/base/defer.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {

std::ostream& operator<<(std::ostream& out, const ChangeSet& change) {
  out << "kind " << static_cast<int>(change.kind) << ":";
  for (const auto& path : change.paths) out << " " << path;
  return out;
}

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Kind = ChangeSet::Kind;
using Paths = std::vector<fs::path>;

// How long to look for a report that must not come: several quiet periods.
constexpr auto kNothing = 300ms;
constexpr auto kDeadline = 20s;

// What an in-place save does: the same inode, truncated and written again.
void write_in_place(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
}

class WatcherTest : public testing::Test {
 protected:
  void SetUp() override {
    parent_ = TempDir::make()->release();
    folder_ = parent_ / "mycc";
    fs::create_directory(folder_);
    write_in_place(folder_ / "mycc.c", "int first;\n");
    write_in_place(folder_ / "Kbuild", "obj-m := mycc.o\n");
  }
  void TearDown() override { fs::remove_all(parent_); }

  Watcher open(Watcher::Options options = {.quiet = 50ms, .settled = 50ms, .bound = 10s}) {
    auto watcher = Watcher::open(folder_, options);
    EXPECT_TRUE(watcher) << watcher.error().message();
    return std::move(watcher.value());
  }

  static std::optional<ChangeSet> wait(Watcher& watcher, std::chrono::milliseconds limit) {
    const auto deadline = Clock::now() + limit;
    for (;;) {
      auto change = watcher.next();
      if (!change) {
        ADD_FAILURE() << change.error().message();
        return std::nullopt;
      }
      if (*change) return *change;
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      struct pollfd poll = {.fd = watcher.fd(), .events = POLLIN, .revents = 0};
      if (left <= 0 || ::poll(&poll, 1, static_cast<int>(left)) == 0) return std::nullopt;
    }
  }
  static void expect_change(Watcher& watcher, const Paths& paths, Kind kind = Kind::kChanged) {
    const auto change = wait(watcher, kDeadline);
    ASSERT_TRUE(change);
    EXPECT_EQ(change->paths, paths) << *change;
    EXPECT_EQ(change->kind, kind) << *change;
  }
  static void expect_nothing(Watcher& watcher) {
    const auto change = wait(watcher, kNothing);
    EXPECT_FALSE(change) << *change;
  }

  fs::path parent_;
  fs::path folder_;
};

// -- ways to save --------------------------------------------------------------------------------

TEST_F(WatcherTest, SaysNothingWhenNothingHappens) {
  auto watcher = open();
  expect_nothing(watcher);
}

TEST_F(WatcherTest, ReportsASaveInPlace) {
  auto watcher = open();
  write_in_place(folder_ / "mycc.c", "int second;\n");
  expect_change(watcher, {"mycc.c"});
  expect_nothing(watcher);
}

TEST_F(WatcherTest, ReportsASaveByRenameOverTheFile) {
  auto watcher = open();
  for (int save = 0; save < 3; ++save) {  // each save is another inode
    write_in_place(folder_ / "mycc.c.new", fmt::format("int save{};\n", save));
    fs::rename(folder_ / "mycc.c.new", folder_ / "mycc.c");
    expect_change(watcher, {"mycc.c"});
  }
  expect_nothing(watcher);
}

TEST_F(WatcherTest, ReportsASaveOfVimAsOneChangeOfTheFileAlone) {
  auto watcher = open();
  write_in_place(folder_ / ".mycc.c.swp", "swap");
  write_in_place(folder_ / "4913", "");
  fs::remove(folder_ / "4913");
  fs::rename(folder_ / "mycc.c", folder_ / "mycc.c~");
  write_in_place(folder_ / "mycc.c", "int by_vim;\n");
  fs::permissions(folder_ / "mycc.c", fs::perms(0644));
  fs::remove(folder_ / "mycc.c~");
  fs::remove(folder_ / ".mycc.c.swp");
  expect_change(watcher, {"mycc.c"});
  expect_nothing(watcher);
}

TEST_F(WatcherTest, ReportsASaveOfEmacsAsOneChangeOfTheFileAlone) {
  auto watcher = open();
  fs::create_symlink("user@machine.1234", folder_ / ".#mycc.c");
  write_in_place(folder_ / "#mycc.c#", "auto-saved");
  fs::copy_file(folder_ / "mycc.c", folder_ / "mycc.c~");
  write_in_place(folder_ / "mycc.c", "int by_emacs;\n");
  fs::remove(folder_ / "#mycc.c#");
  fs::remove(folder_ / ".#mycc.c");
  expect_change(watcher, {"mycc.c"});
  expect_nothing(watcher);
}

TEST_F(WatcherTest, ReportsASaveThroughATemporaryFileWhoseNameItDoesNotKnow) {
  auto watcher = open();
  write_in_place(folder_ / "sedX1Y2Z3", "int by_sed;\n");
  fs::rename(folder_ / "sedX1Y2Z3", folder_ / "mycc.c");
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, WaitsForAWriterToCloseTheFile) {
  auto watcher = open();
  auto fd = UniqueFd::open(folder_ / "mycc.c", O_WRONLY | O_TRUNC);
  ASSERT_EQ(::write(fd->get(), "int ", 4), 4);
  expect_nothing(watcher);  // an empty or half file must not be built
  ASSERT_EQ(::write(fd->get(), "whole;\n", 7), 7);
  fd->reset();
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, ReportsAFileThatItsWriterNeverClosesAtTheBound) {
  auto watcher = open({.quiet = 10ms, .bound = 100ms});
  const auto fd = UniqueFd::open(folder_ / "mycc.c", O_WRONLY | O_TRUNC);
  ASSERT_EQ(::write(fd->get(), "int kept_open;\n", 15), 15);
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, ReportsNewAndRemovedFiles) {
  auto watcher = open();
  write_in_place(folder_ / "extra.h", "");
  expect_change(watcher, {"extra.h"});
  fs::remove(folder_ / "mycc.c");
  fs::rename(folder_ / "extra.h", folder_ / "other.h");
  expect_change(watcher, {"extra.h", "mycc.c", "other.h"});
}

TEST_F(WatcherTest, DoesNotReportASaveThatChangesNoByte) {
  auto watcher = open();
  write_in_place(folder_ / "mycc.c", "int first;\n");
  fs::last_write_time(folder_ / "Kbuild", fs::file_time_type::clock::now());
  expect_nothing(watcher);
}

TEST_F(WatcherTest, DoesNotReportAChangeThatIsTakenBackAtOnce) {
  auto watcher = open();
  write_in_place(folder_ / "mycc.c", "int wrong;\n");
  write_in_place(folder_ / "mycc.c", "int first;\n");
  expect_nothing(watcher);
}

TEST_F(WatcherTest, ReportsAChangeThatKeepsSizeAndTime) {
  auto watcher = open({.quiet = 10ms, .bound = 200ms});
  const auto time = fs::last_write_time(folder_ / "mycc.c");
  write_in_place(folder_ / "mycc.c", "int FIRST;\n");
  fs::last_write_time(folder_ / "mycc.c", time);
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, ReportsAFileThatBecomesReadable) {
  // Root reads everything: look at it as another user.
  const uid_t user = ::geteuid() == 0 ? 65534 : ::geteuid();
  for (const auto& path : {parent_, folder_, folder_ / "mycc.c", folder_ / "Kbuild"}) {
    ASSERT_EQ(::chown(path.c_str(), user, static_cast<gid_t>(-1)), 0);
  }
  const uid_t before = ::geteuid();
  ASSERT_EQ(::seteuid(user), 0);
  auto restore = defer([&] { EXPECT_EQ(::seteuid(before), 0); });
  fs::permissions(folder_ / "mycc.c", fs::perms::none);
  auto watcher = open();
  fs::permissions(folder_ / "mycc.c", fs::perms(0644));
  expect_change(watcher, {"mycc.c"});
}

// -- what a build does ---------------------------------------------------------------------------

TEST_F(WatcherTest, IsNotTriggeredByTheBuildItself) {
  auto watcher = open();
  fs::create_directory(folder_ / ".tmp_versions");
  for (const char* name :
       {"mycc.o", "mycc.mod", "mycc.mod.c", "mycc.mod.o", "mycc.ko", ".mycc.o.cmd",
        "Module.symvers", "modules.order", ".tmp_versions/mycc.mod", "compile_commands.json"}) {
    write_in_place(folder_ / name, "product");
  }
  expect_nothing(watcher);
}

TEST_F(WatcherTest, KeepsWhatChangesWhileTheCallerBuilds) {
  auto watcher = open();
  write_in_place(folder_ / "mycc.c", "int second;\n");
  expect_change(watcher, {"mycc.c"});
  // The caller builds now, and does not look at fd().
  write_in_place(folder_ / "mycc.c", "int third;\n");
  write_in_place(folder_ / "mycc.c", "int fourth;\n");
  write_in_place(folder_ / "mycc.o", "product");
  expect_change(watcher, {"mycc.c"});
  expect_nothing(watcher);
}

// -- bursts --------------------------------------------------------------------------------------

TEST_F(WatcherTest, CoalescesABurstIntoOneReport) {
  auto watcher = open({.quiet = 200ms, .settled = 200ms, .bound = 20s});
  for (int save = 0; save < 200; ++save) {
    write_in_place(folder_ / "mycc.c", fmt::format("int save{};\n", save));
    write_in_place(folder_ / fmt::format("file{}.h", save % 3), fmt::format("// {}\n", save));
    EXPECT_FALSE(*watcher.next());
  }
  expect_change(watcher, {"file0.h", "file1.h", "file2.h", "mycc.c"});
  expect_nothing(watcher);
}

TEST_F(WatcherTest, DoesNotWaitLongForMoreWhenASaveIsWhole) {
  auto watcher = open({.quiet = kDeadline * 2, .settled = 1ms, .bound = kDeadline * 2});
  write_in_place(folder_ / "mycc.c", "int second;\n");
  fs::permissions(folder_ / "mycc.c", fs::perms::owner_all);
  expect_change(watcher, {"mycc.c"});
  write_in_place(folder_ / "mycc.c~", "int third;\n");
  fs::rename(folder_ / "mycc.c~", folder_ / "mycc.c");
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, WaitsForAFileThatWentAwayToComeBack) {
  auto watcher = open({.quiet = kDeadline * 2, .settled = 1ms, .bound = kDeadline * 2});
  fs::rename(folder_ / "mycc.c", folder_ / "mycc.c~");
  write_in_place(folder_ / "Kbuild", "obj-m := mycc.o # as before\n");
  expect_nothing(watcher);
  write_in_place(folder_ / "mycc.c", "int second;\n");
  expect_change(watcher, {"Kbuild", "mycc.c"});
}

TEST_F(WatcherTest, ReportsAtTheBoundWhileSavesGoOn) {
  auto watcher = open({.quiet = 5s, .settled = 5s, .bound = 100ms});
  std::atomic<bool> reported = false;
  std::jthread writer([&] {
    const auto deadline = Clock::now() + kDeadline;
    for (int save = 0; !reported && Clock::now() < deadline; ++save) {
      write_in_place(folder_ / "mycc.c", fmt::format("int save{};\n", save));
    }
  });
  const auto start = Clock::now();
  const auto change = wait(watcher, kDeadline);
  const auto took = Clock::now() - start;
  reported = true;
  ASSERT_TRUE(change);
  EXPECT_GE(took, 50ms);
  EXPECT_LT(took, 5s);  // it was the bound, not the quiet period
}

TEST_F(WatcherTest, FindsTheChangeWhenTheKernelDroppedItsEvent) {
  auto watcher = open();
  const int limit = std::stoi(*read_file("/proc/sys/fs/inotify/max_queued_events"));
  for (int i = 0; i <= limit / 2; ++i) {  // two events each; equal ones in a row would be merged
    const auto path = folder_ / fmt::format("{}.h", i % 2);
    UniqueFd::open(path, O_CREAT | O_WRONLY, 0644)->reset();
    fs::remove(path);
  }
  write_in_place(folder_ / "mycc.c", "int lost;\n");
  const auto change = wait(watcher, kDeadline);
  ASSERT_TRUE(change);
  EXPECT_TRUE(change->overflowed);
  EXPECT_EQ(change->paths, Paths{"mycc.c"}) << *change;
  expect_nothing(watcher);
  write_in_place(folder_ / "mycc.c", "int not_lost;\n");  // and it goes on as before
  const auto next = wait(watcher, kDeadline);
  ASSERT_TRUE(next);
  EXPECT_FALSE(next->overflowed);
}

// -- folders -------------------------------------------------------------------------------------

TEST_F(WatcherTest, SeesFilesInSubfoldersNewOnesToo) {
  fs::create_directories(folder_ / "a");
  auto watcher = open();
  write_in_place(folder_ / "a/x.h", "1");
  expect_change(watcher, {"a/x.h"});
  fs::create_directories(folder_ / "b/c/d");
  write_in_place(folder_ / "b/c/d/y.h", "1");
  expect_change(watcher, {"b/c/d/y.h"});
  write_in_place(folder_ / "b/c/d/y.h", "2");
  expect_change(watcher, {"b/c/d/y.h"});
}

TEST_F(WatcherTest, SeesAFolderMovedInAndOut) {
  fs::create_directories(parent_ / "elsewhere/sub");
  write_in_place(parent_ / "elsewhere/sub/x.h", "1");
  auto watcher = open();
  fs::rename(parent_ / "elsewhere", folder_ / "inside");
  expect_change(watcher, {"inside/sub/x.h"});
  fs::rename(folder_ / "inside", parent_ / "elsewhere");
  expect_change(watcher, {"inside/sub/x.h"});
  write_in_place(parent_ / "elsewhere/sub/x.h", "2");  // no longer ours
  expect_nothing(watcher);
}

TEST_F(WatcherTest, ReportsTheFolderGoneAndBack) {
  auto watcher = open();
  fs::remove_all(folder_);
  expect_change(watcher, {"Kbuild", "mycc.c"}, Kind::kGone);
  expect_nothing(watcher);
  fs::create_directory(folder_);
  write_in_place(folder_ / "mycc.c", "int back;\n");
  expect_change(watcher, {"mycc.c"}, Kind::kBack);
  write_in_place(folder_ / "mycc.c", "int again;\n");
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, ReportsTheFolderGoneAndBackWithItsParents) {
  const auto outer = parent_ / "outer";
  fs::create_directories(outer / "inner");
  fs::rename(folder_, outer / "inner/mycc");
  folder_ = outer / "inner/mycc";
  auto watcher = open();
  fs::rename(outer, parent_ / "aside");
  expect_change(watcher, {"Kbuild", "mycc.c"}, Kind::kGone);
  fs::create_directory(outer);
  fs::create_directory(outer / "inner");
  expect_nothing(watcher);
  fs::create_directory(folder_);
  write_in_place(folder_ / "mycc.c", "int back;\n");
  expect_change(watcher, {"mycc.c"}, Kind::kBack);
}

TEST_F(WatcherTest, TakesAFolderDeletedAndMadeAgainAtOnceAsAChange) {
  auto watcher = open();
  fs::remove_all(folder_);
  fs::create_directory(folder_);
  write_in_place(folder_ / "mycc.c", "int other;\n");
  write_in_place(folder_ / "Kbuild", "obj-m := mycc.o\n");
  expect_change(watcher, {"mycc.c"});
  write_in_place(folder_ / "mycc.c", "int another;\n");
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, TakesAnotherFolderRenamedToItsPlaceAsAChange) {
  auto watcher = open();
  fs::create_directory(parent_ / "new");
  write_in_place(parent_ / "new/mycc.c", "int other;\n");
  fs::rename(folder_, parent_ / "old");
  fs::rename(parent_ / "new", folder_);
  expect_change(watcher, {"Kbuild", "mycc.c"});
  write_in_place(parent_ / "old/mycc.c", "int not_ours;\n");
  expect_nothing(watcher);
}

// -- symlinks ------------------------------------------------------------------------------------

TEST_F(WatcherTest, SeesChangesOfAFileBehindASymlink) {
  fs::create_directory(parent_ / "shared");
  write_in_place(parent_ / "shared/common.h", "1");
  fs::create_symlink("../shared/common.h", folder_ / "common.h");
  auto watcher = open();
  write_in_place(parent_ / "shared/common.h", "2");
  expect_change(watcher, {"common.h"});
  write_in_place(parent_ / "shared/new", "3");
  fs::rename(parent_ / "shared/new", parent_ / "shared/common.h");
  expect_change(watcher, {"common.h"});
  write_in_place(parent_ / "shared/other.h", "not ours");
  expect_nothing(watcher);
}

TEST_F(WatcherTest, SeesASymlinkTurnedElsewhere) {
  fs::create_directory(parent_ / "shared");
  write_in_place(parent_ / "shared/one.h", "1");
  write_in_place(parent_ / "shared/two.h", "2");
  fs::create_symlink("one.h", parent_ / "shared/middle.h");
  fs::create_symlink(parent_ / "shared/middle.h", folder_ / "common.h");
  auto watcher = open();
  fs::create_symlink("two.h", parent_ / "shared/new");
  fs::rename(parent_ / "shared/new", parent_ / "shared/middle.h");
  expect_change(watcher, {"common.h"});
  write_in_place(parent_ / "shared/two.h", "3");
  expect_change(watcher, {"common.h"});
}

TEST_F(WatcherTest, SeesTheFileBehindADanglingSymlinkAppear) {
  fs::create_symlink(parent_ / "later/common.h", folder_ / "common.h");
  auto watcher = open();
  fs::create_directory(parent_ / "later");
  expect_nothing(watcher);
  write_in_place(parent_ / "later/common.h", "1");
  expect_change(watcher, {"common.h"});
}

TEST_F(WatcherTest, SeesChangesInAFolderBehindASymlink) {
  fs::create_directories(parent_ / "shared/sub");
  fs::create_directory_symlink(parent_ / "shared", folder_ / "lib");
  auto watcher = open();
  write_in_place(parent_ / "shared/sub/x.h", "1");
  expect_change(watcher, {"lib/sub/x.h"});
}

TEST_F(WatcherTest, FollowsASymlinkAsTheFolderItself) {
  fs::create_directory(parent_ / "other");
  write_in_place(parent_ / "other/mycc.c", "int other;\n");
  fs::create_directory_symlink("mycc", parent_ / "current");
  folder_ = parent_ / "current";
  auto watcher = open();
  write_in_place(parent_ / "mycc/mycc.c", "int second;\n");
  expect_change(watcher, {"mycc.c"});
  fs::create_directory_symlink("other", parent_ / "new");
  fs::rename(parent_ / "new", parent_ / "current");
  expect_change(watcher, {"Kbuild", "mycc.c"});
}

TEST_F(WatcherTest, IsNotCaughtInASymlinkCycle) {
  fs::create_directory_symlink("..", folder_ / "up");
  fs::create_directory_symlink(".", folder_ / "self");
  fs::create_symlink("loop.h", folder_ / "loop.h");
  auto watcher = open();
  write_in_place(folder_ / "mycc.c", "int second;\n");
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, IsNotHungByAFifo) {
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  auto watcher = open();
  write_in_place(folder_ / "mycc.c", "int second;\n");
  expect_change(watcher, {"mycc.c"});
}

// -- limits and bad input ------------------------------------------------------------------------

TEST_F(WatcherTest, RefusesAFolderThatIsMissingOrNone) {
  const auto missing = Watcher::open(folder_ / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().errno_value(), ENOENT);
  const auto file = Watcher::open(folder_ / "mycc.c");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().errno_value(), ENOTDIR);
}

TEST_F(WatcherTest, RefusesATreeTooLargeForAModule) {
  for (int i = 0; i < 1100; ++i) fs::create_directory(folder_ / fmt::format("sub{}", i));
  const auto watcher = Watcher::open(folder_);
  ASSERT_FALSE(watcher);
  EXPECT_EQ(watcher.error().errno_value(), E2BIG);
  EXPECT_FALSE(watcher.error().hint().empty());
}

TEST_F(WatcherTest, RecoversFromATreeThatWasTooLargeForAMoment) {
  auto watcher = open();
  for (int i = 0; i < 1100; ++i) fs::create_directory(folder_ / fmt::format("sub{}", i));
  const auto deadline = Clock::now() + kDeadline;
  auto change = watcher.next();
  while (change && Clock::now() < deadline) {
    struct pollfd poll = {.fd = watcher.fd(), .events = POLLIN, .revents = 0};
    ::poll(&poll, 1, 1000);
    change = watcher.next();
  }
  ASSERT_FALSE(change);
  for (int i = 0; i < 1100; ++i) fs::remove(folder_ / fmt::format("sub{}", i));
  write_in_place(folder_ / "mycc.c", "int second;\n");
  expect_change(watcher, {"mycc.c"});
}

TEST_F(WatcherTest, TakesARelativeFolderWithATrailingSlash) {
  const auto before = fs::current_path();
  fs::current_path(parent_);
  auto watcher = Watcher::open("./mycc/");
  fs::current_path(before);
  ASSERT_TRUE(watcher);
  EXPECT_EQ(watcher->folder(), folder_);
  write_in_place(folder_ / "mycc.c", "int second;\n");
  expect_change(*watcher, {"mycc.c"});
}

TEST_F(WatcherTest, CostsNothingWhileOthersWorkBesideTheFolder) {
  auto watcher = open();
  write_in_place(parent_ / "beside.c", "not ours");
  write_in_place(folder_ / "mycc.o", "product");
  expect_nothing(watcher);
  struct pollfd poll = {.fd = watcher.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&poll, 1, 0), 0);  // no timer was left running
}

}  // namespace
}  // namespace lkm
