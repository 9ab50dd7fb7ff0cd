// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

TEST(ReadFile, GivesAllBytesAlsoZeros) {
  const auto folder = TempDir::make();
  const std::string content("a\0b\n", 4);
  std::ofstream(folder->path() / "file") << content;
  EXPECT_EQ(*read_file(folder->path() / "file"), content);
}

TEST(ReadFile, ReadsFilesThatDoNotTellTheirSize) {
  EXPECT_NE(read_file("/proc/self/status")->find("Name:"), std::string::npos);
}

TEST(ReadFile, FailsOnAFolder) {
  const auto content = read_file("/");
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().errno_value(), EISDIR);
}

TEST(ReplaceFile, WritesAndReplacesLeavingNothingBeside) {
  const auto folder = TempDir::make();
  const auto path = folder->path() / "file";
  ASSERT_TRUE(replace_file(path, "first"));
  ASSERT_TRUE(replace_file(path, "second", 0600));
  EXPECT_EQ(*read_file(path), "second");
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder->path()), {}), 1);
}

TEST(ReplaceFile, KeepsTheOldFileWhenItCannotBeReplaced) {
  const auto folder = TempDir::make();
  const auto path = folder->path() / "folder";
  std::filesystem::create_directories(path / "full");
  EXPECT_FALSE(replace_file(path, "text"));  // rename over a folder
  EXPECT_TRUE(std::filesystem::exists(path / "full"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder->path()), {}), 1);
}

}  // namespace
}  // namespace lkm
