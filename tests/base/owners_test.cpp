// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "toolkit/base/defer.hpp"
#include "toolkit/base/mapping.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFd, ClosesWhatItOwns) {
  int raw = -1;
  {
    const auto fd = UniqueFd::open("/dev/null", O_RDONLY);
    raw = fd->get();
    EXPECT_TRUE(is_open(raw));
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(UniqueFd, OpensWithCloseOnExec) {
  const auto fd = UniqueFd::open("/dev/null", O_RDONLY);
  EXPECT_EQ(::fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
}

TEST(UniqueFd, TakesDescriptorZeroAsAValidOne) {
  const UniqueFd saved(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  {
    UniqueFd zero(::dup2(UniqueFd::open("/dev/null", O_RDONLY)->get(), 0));
    ASSERT_EQ(zero.get(), 0);
    EXPECT_TRUE(zero);
  }
  EXPECT_FALSE(is_open(0));
  if (saved) ::dup2(saved.get(), 0);
}

TEST(UniqueFd, StaysOpenWhenMovedToItself) {
  auto fd = UniqueFd::open("/dev/null", O_RDONLY);
  UniqueFd& alias = *fd;
  *fd = std::move(alias);
  EXPECT_TRUE(is_open(fd->get()));
}

TEST(UniqueFd, IsEmptyAfterAMove) {
  auto fd = UniqueFd::open("/dev/null", O_RDONLY);
  const UniqueFd other = std::move(*fd);
  EXPECT_FALSE(*fd);
  EXPECT_TRUE(is_open(other.get()));
}

TEST(UniqueFd, LeavesErrnoAloneWhenDropped) {
  {
    const UniqueFd closed_already(1000000);  // close() fails with EBADF
    errno = ENOTTY;
  }
  EXPECT_EQ(errno, ENOTTY);
}

TEST(UniqueFd, NamesThePathThatCannotBeOpened) {
  const auto fd = UniqueFd::open("/no/such/file", O_RDONLY);
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().message(), "open '/no/such/file': No such file or directory");
}

TEST(TempDir, IsRemovedWithItsContent) {
  std::filesystem::path path;
  {
    const auto folder = TempDir::make();
    path = folder->path();
    std::filesystem::create_directories(path / "a/b");
    std::ofstream(path / "a/b/c") << "text";
    EXPECT_TRUE(std::filesystem::exists(path / "a/b/c"));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TempDir, DoesNotFollowSymlinksWhenRemoved) {
  const auto kept = TempDir::make();
  std::ofstream(kept->path() / "file") << "text";
  {
    const auto folder = TempDir::make();
    std::filesystem::create_directory_symlink(kept->path(), folder->path() / "link");
  }
  EXPECT_TRUE(std::filesystem::exists(kept->path() / "file"));
}

TEST(TempDir, StaysWhenReleasedOrMovedToItself) {
  auto folder = TempDir::make();
  TempDir& alias = *folder;
  *folder = std::move(alias);
  ASSERT_TRUE(std::filesystem::exists(folder->path()));
  const auto path = folder->release();
  *folder = *TempDir::make();
  EXPECT_TRUE(std::filesystem::remove(path));
}

TEST(TempDir, LeavesErrnoAloneWhenDropped) {
  {
    const auto folder = TempDir::make();
    std::filesystem::remove(folder->path());
    errno = ENOTTY;
  }
  EXPECT_EQ(errno, ENOTTY);
}

TEST(TempDir, NamesTheParentThatIsMissing) {
  const auto folder = TempDir::make("x-", "/no/such/folder");
  ASSERT_FALSE(folder);
  EXPECT_NE(folder.error().what().find("/no/such/folder"), std::string::npos);
}

TEST(Mapping, ShowsTheBytesOfAFile) {
  const auto folder = TempDir::make();
  std::ofstream(folder->path() / "file") << "some text";
  const auto mapping = Mapping::file(folder->path() / "file");
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_EQ(mapping->text(), "some text");
}

TEST(Mapping, IsEmptyForAnEmptyFile) {
  const auto mapping = Mapping::file("/dev/null");
  EXPECT_FALSE(mapping);  // no regular file
  const auto folder = TempDir::make();
  std::ofstream(folder->path() / "empty").flush();
  const auto empty = Mapping::file(folder->path() / "empty");
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->size(), 0u);
}

TEST(Mapping, IsWritableMemoryAndSurvivesASelfMove) {
  auto memory = Mapping::memory(8192);
  ASSERT_TRUE(memory);
  std::memset(memory->data(), 7, memory->size());
  Mapping& alias = *memory;
  *memory = std::move(alias);
  EXPECT_EQ(static_cast<int>(memory->data()[8191]), 7);
  const Mapping other = std::move(*memory);
  EXPECT_FALSE(*memory);
  EXPECT_EQ(static_cast<int>(other.data()[0]), 7);
}

TEST(Mapping, RefusesMoreThanTheAddressSpace) {
  const auto memory = Mapping::memory(std::size_t{1} << 60);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().errno_value(), ENOMEM);
}

TEST(Defer, RunsAtTheEndOfTheScopeUnlessCancelled) {
  int runs = 0;
  {
    auto once = defer([&] { ++runs; });
    auto never = defer([&] { runs += 10; });
    never.cancel();
    EXPECT_EQ(runs, 0);
  }
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace lkm
