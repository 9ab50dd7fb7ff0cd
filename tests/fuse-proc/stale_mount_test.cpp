// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/stale_mount.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>

#include "toolkit/base/defer.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::fuse {
namespace {

TEST(ParseMountinfo, TakesPointTypeAndSourceWhateverTheOptionalFields) {
  const auto entries = parse_mountinfo(
      "22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
      "28 1 259:2 / / rw,relatime - ext4 /dev/root rw\n"
      "90 28 0:50 / /run/mnt rw master:1 propagate_from:2 - fuse.lkm-run lkm-run rw,user_id=0\n");
  EXPECT_EQ(entries, (std::vector<MountEntry>{{"/sys", "sysfs", "sysfs"},
                                              {"/", "ext4", "/dev/root"},
                                              {"/run/mnt", "fuse.lkm-run", "lkm-run"}}));
}

TEST(ParseMountinfo, UndoesItsEscapes) {
  const auto entries =
      parse_mountinfo("1 2 0:3 / /a\\040b\\011c\\134d\\0 rw - fuse.lkm-run a\\012b rw\n");
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].mount_point, "/a b\tc\\d\\0");
  EXPECT_EQ(entries[0].source, "a\nb");
}

TEST(ParseMountinfo, LeavesOutLinesThatAreNone) {
  EXPECT_TRUE(parse_mountinfo("").empty());
  EXPECT_TRUE(parse_mountinfo("\n\nnonsense\n1 2 3 4 5 6 7 8\n1 2 0:3 / /a rw -\n").empty());
  EXPECT_TRUE(parse_mountinfo("1 2 0:3 / /a rw - fuse\n").empty());
}

TEST(MountinfoPath, IsAbsoluteWithTheParentsLinksResolved) {
  const auto folder = TempDir::make();
  ASSERT_TRUE(folder);
  const auto real = std::filesystem::canonical(folder->path());
  std::filesystem::create_directory(real / "there");
  std::filesystem::create_symlink("there", real / "link");
  EXPECT_EQ(*mountinfo_path(folder->path() / "link" / "mnt"), (real / "there" / "mnt").string());
  EXPECT_EQ(*mountinfo_path(folder->path() / "link" / "mnt/"), (real / "there" / "mnt").string());
  EXPECT_EQ(mountinfo_path(folder->path() / "none" / "mnt").error().errno_value(), ENOENT);
}

TEST(CleanStaleMount, FindsNothingInAPlainOrAbsentFolder) {
  const auto folder = TempDir::make();
  ASSERT_TRUE(folder);
  EXPECT_FALSE(*clean_stale_mount(folder->path()));
  EXPECT_FALSE(*clean_stale_mount(folder->path() / "none"));
  EXPECT_FALSE(*clean_stale_mount(folder->path() / "none" / "none"));
}

/// A FUSE mount of our type without a server, as root. Its descriptor is what keeps it alive.
struct FuseMount : ::testing::Test {
  TempDir folder = std::move(*TempDir::make("lkm run "));
  UniqueFd device;

  void SetUp() override {
    auto opened = UniqueFd::open("/dev/fuse", O_RDWR);
    if (!opened || ::geteuid() != 0 || !mount_again(opened->get())) {
      GTEST_SKIP() << "needs /dev/fuse and the right to mount";
    }
    device = std::move(*opened);
  }
  void TearDown() override { ::umount2(folder.path().c_str(), MNT_DETACH); }

  bool mount_again(int fd) {
    const std::string options = fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", fd);
    return ::mount("lkm-run", folder.path().c_str(), "fuse.lkm-run", MS_NOSUID | MS_NODEV,
                   options.c_str()) == 0;
  }
  std::size_t mounts() {
    const auto entries = parse_mountinfo(*read_file("/proc/self/mountinfo"));
    const std::string path = *mountinfo_path(folder.path());
    return static_cast<std::size_t>(
        std::count_if(entries.begin(), entries.end(),
                      [&](const MountEntry& entry) { return entry.mount_point == path; }));
  }
};

TEST_F(FuseMount, ThatIsDeadIsCleaned) {
  device.reset();
  ASSERT_EQ(mounts(), 1u);
  EXPECT_TRUE(*clean_stale_mount(folder.path()));
  EXPECT_EQ(mounts(), 0u);
  EXPECT_FALSE(*clean_stale_mount(folder.path()));
}

TEST_F(FuseMount, ThatIsDeadIsCleanedTogetherWithOneThatItCovers) {
  auto second = UniqueFd::open("/dev/fuse", O_RDWR);
  ASSERT_TRUE(second);
  ASSERT_TRUE(mount_again(second->get()));
  device.reset();
  second->reset();
  ASSERT_EQ(mounts(), 2u);
  EXPECT_TRUE(*clean_stale_mount(folder.path()));
  EXPECT_EQ(mounts(), 0u);
}

TEST_F(FuseMount, ThatDoesNotAnswerIsLeftAloneAndDoesNotHoldTheCaller) {
  const auto cleaned = clean_stale_mount(folder.path());
  ASSERT_FALSE(cleaned);
  EXPECT_EQ(cleaned.error().errno_value(), EBUSY);
  EXPECT_FALSE(cleaned.error().hint().empty());
  EXPECT_EQ(mounts(), 1u);
}

}  // namespace
}  // namespace lkm::fuse
