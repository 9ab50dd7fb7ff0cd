// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/mirror.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class MirrorTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(source_);
    write(source_ / "mycc.c", "int x;\n");
    write(source_ / "Kbuild", "obj-m := mycc.o\n");
  }
  static void write(const fs::path& path, const std::string& text) {
    ASSERT_TRUE(replace_file(path, text));
  }
  Mirror open() {
    auto mirror = Mirror::open(source_, root_);
    EXPECT_TRUE(mirror) << mirror.error().message();
    return std::move(mirror.value());
  }
  static std::string copied(const Mirror& mirror, const char* name) {
    auto content = read_file(mirror.folder() / name);
    return content ? *content : content.error().message();
  }

  TempDir dir_ = std::move(*TempDir::make());
  fs::path source_ = dir_.path() / "project/mycc";
  fs::path root_ = dir_.path() / "work/mycc-1";
};

TEST_F(MirrorTest, CopiesSourcesAndLeavesBuildProductsBehind) {
  fs::create_directory(source_ / "sub");
  write(source_ / "sub/x.h", "1");
  write(source_ / "mycc.o", "stale");
  write(source_ / ".mycc.o.cmd", "stale");
  write(source_ / "mycc.mod.c", "stale");
  Mirror mirror = open();
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(copied(mirror, "mycc.c"), "int x;\n");
  EXPECT_EQ(copied(mirror, "sub/x.h"), "1");
  EXPECT_FALSE(fs::exists(mirror.folder() / "mycc.o"));
  EXPECT_FALSE(fs::exists(mirror.folder() / ".mycc.o.cmd"));
  EXPECT_FALSE(fs::exists(mirror.folder() / "mycc.mod.c"));
}

TEST_F(MirrorTest, GivesAChangedFileANewTimeEvenIfItCameWithAnOldOne) {
  Mirror mirror = open();
  ASSERT_TRUE(mirror.sync());
  const auto built = fs::last_write_time(mirror.folder() / "mycc.c");
  write(source_ / "backup", "int y;\n");
  fs::last_write_time(source_ / "backup", built - 24h);
  fs::rename(source_ / "backup", source_ / "mycc.c");
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(copied(mirror, "mycc.c"), "int y;\n");
  EXPECT_GE(fs::last_write_time(mirror.folder() / "mycc.c"), built);
}

TEST_F(MirrorTest, LeavesAFileAloneThatWasOnlyTouched) {
  Mirror mirror = open();
  ASSERT_TRUE(mirror.sync());
  const auto old = fs::last_write_time(mirror.folder() / "mycc.c") - 1h;
  fs::last_write_time(mirror.folder() / "mycc.c", old);
  fs::last_write_time(source_ / "mycc.c", old + 2h);
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(fs::last_write_time(mirror.folder() / "mycc.c"), old);
}

TEST_F(MirrorTest, RemovesWhatIsGoneAndKeepsWhatTheBuildMade) {
  write(source_ / "old.h", "1");
  Mirror mirror = open();
  ASSERT_TRUE(mirror.sync());
  write(mirror.folder() / "generated.h", "2");
  write(mirror.folder() / "mycc.o", "object");
  fs::remove(source_ / "old.h");
  ASSERT_TRUE(mirror.sync());
  EXPECT_FALSE(fs::exists(mirror.folder() / "old.h"));
  EXPECT_EQ(copied(mirror, "generated.h"), "2");
  EXPECT_EQ(copied(mirror, "mycc.o"), "object");
}

TEST_F(MirrorTest, FollowsSymlinksButNotInCircles) {
  write(dir_.path() / "elsewhere.h", "linked");
  fs::create_symlink(dir_.path() / "elsewhere.h", source_ / "linked.h");
  fs::create_directory_symlink(".", source_ / "self");
  fs::create_directory(source_ / "real");
  write(source_ / "real/x.h", "twice");
  fs::create_directory_symlink("real", source_ / "again");
  fs::create_symlink("nowhere", source_ / "dangling.h");
  Mirror mirror = open();
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(copied(mirror, "linked.h"), "linked");
  EXPECT_EQ(copied(mirror, "real/x.h"), "twice");
  EXPECT_EQ(copied(mirror, "again/x.h"), "twice");
  EXPECT_FALSE(fs::is_symlink(mirror.folder() / "linked.h"));  // Kbuild must not write through it
}

TEST_F(MirrorTest, ReplacesAFileByAFolderAndBack) {
  write(source_ / "part", "file");
  Mirror mirror = open();
  ASSERT_TRUE(mirror.sync());
  fs::remove(source_ / "part");
  fs::create_directory(source_ / "part");
  write(source_ / "part/x.h", "in folder");
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(copied(mirror, "part/x.h"), "in folder");
  fs::remove_all(source_ / "part");
  write(source_ / "part", "file again");
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(copied(mirror, "part"), "file again");
}

TEST_F(MirrorTest, LeadsToTheSiblingsOfTheFolder) {
  fs::create_directory(dir_.path() / "project/common");
  write(dir_.path() / "project/common/x.h", "shared");
  Mirror mirror = open();
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(copied(mirror, "../common/x.h"), "shared");
  fs::rename(dir_.path() / "project/common", dir_.path() / "project/renamed");
  ASSERT_TRUE(mirror.sync());
  EXPECT_EQ(copied(mirror, "../renamed/x.h"), "shared");
  EXPECT_FALSE(fs::is_symlink(mirror.tree() / "common"));
}

TEST_F(MirrorTest, ShowsTheUsersPaths) {
  const Mirror mirror = open();
  const std::string text = (mirror.folder() / "mycc.c").native() + ":3: error\n" +
                           (mirror.tree() / "common/x.h").native() + ":1: note\n";
  EXPECT_EQ(mirror.as_user_sees(text), (source_ / "mycc.c").native() + ":3: error\n" +
                                           (dir_.path() / "project/common/x.h").native() +
                                           ":1: note\n");
}

TEST_F(MirrorTest, RefusesPathsThatTheKernelsMakeCannotHandle) {
  for (const char* name : {"my cc", "my:cc", "my$cc", "my#cc", "my'cc"}) {
    fs::create_directory(dir_.path() / name);
    const auto mirror = Mirror::open(dir_.path() / name, root_);
    ASSERT_FALSE(mirror) << name;
    EXPECT_EQ(mirror.error().errno_value(), EINVAL);
    EXPECT_FALSE(mirror.error().hint().empty());
  }
  EXPECT_TRUE(Mirror::open(source_.native() + "/", root_));
}

TEST_F(MirrorTest, RefusesAFolderThatIsMissingOrNone) {
  EXPECT_EQ(Mirror::open(source_ / "missing", root_).error().errno_value(), ENOENT);
  EXPECT_EQ(Mirror::open(source_ / "mycc.c", root_).error().errno_value(), ENOTDIR);
}

}  // namespace
}  // namespace lkm
