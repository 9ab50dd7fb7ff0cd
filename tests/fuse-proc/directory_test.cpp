// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "toolkit/base/temp_dir.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::fuse {
namespace {

/// A folder's listing as the kernel gives it.
std::string getdents(const std::filesystem::path& folder) {
  const auto fd = UniqueFd::open(folder.string(), O_RDONLY | O_DIRECTORY);
  std::string bytes(65536, '\0');
  const long length = ::syscall(SYS_getdents64, fd->get(), bytes.data(), bytes.size());
  bytes.resize(static_cast<std::size_t>(std::max(length, 0L)));
  return bytes;
}

struct Listing : ::testing::Test {
  TempDir folder = std::move(*TempDir::make());
  std::string bytes;

  void SetUp() override {
    for (const char* name : {"a", "a_name_of_some_length", "trace_pipe"}) {
      ASSERT_TRUE(UniqueFd::open(folder.path() / name, O_CREAT | O_WRONLY, 0600));
    }
    ASSERT_EQ(::symlink("a", (folder.path() / "link").c_str()), 0);
    bytes = getdents(folder.path());
  }
};

TEST_F(Listing, ParsesWhatTheKernelGave) {
  std::set<std::string> names;
  for (const auto& entry : parse_dirents(bytes)) {
    names.insert(entry.name);
    EXPECT_NE(entry.inode, 0u);
    const bool is_directory = entry.name == "." || entry.name == "..";
    EXPECT_EQ(entry.type, is_directory ? DT_DIR : entry.name == "link" ? DT_LNK : DT_REG);
  }
  EXPECT_EQ(names,
            (std::set<std::string>{".", "..", "a", "a_name_of_some_length", "trace_pipe", "link"}));
}

TEST_F(Listing, StopsAtAnEntryThatIsCutOff) {
  const auto whole = parse_dirents(bytes).size();
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_LT(parse_dirents(std::string_view(bytes).substr(0, length)).size(), whole);
  }
}

TEST_F(Listing, StopsAtALengthThatIsNonsense) {
  constexpr std::size_t kLengthAt = 16;
  std::memset(bytes.data() + kLengthAt, 0, 2);
  EXPECT_TRUE(parse_dirents(bytes).empty());
  std::memset(bytes.data() + kLengthAt, 0xff, 2);
  EXPECT_TRUE(parse_dirents(bytes).empty());
}

TEST(AppendDirentry, PacksAsTheHostKernelReadsIt) {
  std::string answer;
  ASSERT_TRUE(append_direntry(answer, 4096, {"lo", 77, DT_LNK, 5}));
  // struct fuse_dirent (uapi/linux/fuse.h): ino, off, namelen, type, name, padded to 8.
  ASSERT_EQ(answer.size(), 32u);
  std::uint64_t ino = 0;
  std::uint64_t next = 0;
  std::uint32_t length = 0;
  std::uint32_t type = 0;
  std::memcpy(&ino, answer.data(), 8);
  std::memcpy(&next, answer.data() + 8, 8);
  std::memcpy(&length, answer.data() + 16, 4);
  std::memcpy(&type, answer.data() + 20, 4);
  EXPECT_EQ(ino, 77u);
  EXPECT_EQ(next, 5u);
  EXPECT_EQ(length, 2u);
  EXPECT_EQ(type, DT_LNK);
  EXPECT_EQ(answer.substr(24, 2), "lo");
}

TEST(AppendDirentry, LeavesTheAnswerAloneWhenThereIsNoRoom) {
  std::string answer;
  ASSERT_TRUE(append_direntry(answer, 40, {"lo", 1, DT_DIR, 1}));
  EXPECT_FALSE(append_direntry(answer, 40, {"eth0", 2, DT_DIR, 2}));
  EXPECT_EQ(answer.size(), 32u);
}

}  // namespace
}  // namespace lkm::fuse
