// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/state_folder.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/control/client.hpp"

namespace lkm::control {
namespace {
namespace fs = std::filesystem;

class StateFolderTest : public testing::Test {
 protected:
  StateFolderTest() : dir_(TempDir::make().value()) {
    ::setenv("XDG_RUNTIME_DIR", dir_.path().c_str(), 1);
  }

  // Another process that claims the folder of that name and then waits to be killed.
  class Owner {
   public:
    explicit Owner(const std::string& name) {
      int ready[2];
      EXPECT_EQ(::pipe(ready), 0);
      pid_ = ::fork();
      if (pid_ == 0) {
        const auto locked = StateFolder::of(name)->claim();
        const char answer = locked ? 'y' : 'n';
        (void)!::write(ready[1], &answer, 1);
        ::pause();
        ::_exit(0);
      }
      ::close(ready[1]);
      char answer = 0;
      EXPECT_EQ(::read(ready[0], &answer, 1), 1);
      EXPECT_EQ(answer, 'y');
      ::close(ready[0]);
    }
    ~Owner() { kill(); }
    void kill() {
      if (pid_ <= 0) return;
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
    [[nodiscard]] pid_t pid() const { return pid_; }

   private:
    pid_t pid_ = 0;
  };

  TempDir dir_;
};

TEST_F(StateFolderTest, RefusesNamesThatWouldLeaveTheFolder) {
  for (const char* name : {"", ".", "..", ".x", "a/b", "a b", "a\n", "\xc3\xa4",
                           "123456789012345678901234567890123"}) {
    const auto folder = StateFolder::of(name);
    ASSERT_FALSE(folder) << name;
    EXPECT_EQ(folder.error().errno_value(), EINVAL);
  }
  EXPECT_TRUE(StateFolder::of("a.B_c-9"));
}

TEST_F(StateFolderTest, IsPrivateOnceClaimed) {
  const auto folder = StateFolder::of("one").value();
  const auto locked = folder.claim();
  ASSERT_TRUE(locked) << locked.error().message();
  for (const fs::path& path : {StateFolder::root(), folder.path(), folder.mount(), folder.plugins()}) {
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_mode & 07777, 0700u) << path;
  }
}

TEST_F(StateFolderTest, KnowsItsLivingOwnerAndRefusesAnother) {
  Owner owner("one");
  const auto folder = StateFolder::of("one").value();
  EXPECT_EQ(folder.owner(), owner.pid());
  const auto second = folder.claim();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().errno_value(), EBUSY);
  EXPECT_NE(second.error().what().find(std::to_string(owner.pid())), std::string::npos);
  EXPECT_EQ(folder.remove().error().errno_value(), EBUSY);
}

TEST_F(StateFolderTest, IsCleanedAfterItsOwnerWasKilled) {
  Owner owner("one");
  const auto folder = StateFolder::of("one").value();
  ASSERT_TRUE(replace_file(folder.plugins() / "old.so", "x"));
  ASSERT_TRUE(replace_file(folder.socket(), ""));
  owner.kill();
  EXPECT_FALSE(folder.owner());
  const auto locked = folder.claim();
  ASSERT_TRUE(locked) << locked.error().message();
  EXPECT_FALSE(fs::exists(folder.socket()));
  EXPECT_TRUE(fs::is_empty(folder.plugins()));
}

TEST_F(StateFolderTest, IsListedUntilItIsRemoved) {
  Owner owner("b");
  Owner other("a");
  owner.kill();
  ASSERT_EQ(StateFolder::all().size(), 2u);
  EXPECT_EQ(StateFolder::all()[0].name(), "a");
  EXPECT_TRUE(StateFolder::of("b")->remove());
  EXPECT_EQ(StateFolder::all().size(), 1u);
  EXPECT_TRUE(StateFolder::of("never-there")->remove());
}

TEST_F(StateFolderTest, RefusesARootThatIsALink) {
  fs::create_directory(dir_.path() / "elsewhere");
  fs::create_directory_symlink(dir_.path() / "elsewhere", StateFolder::root());
  const auto locked = StateFolder::of("one")->claim();
  ASSERT_FALSE(locked);
  EXPECT_EQ(locked.error().errno_value(), ENOTDIR);
}

TEST_F(StateFolderTest, AClientOfAStackThatIsNotUpHearsHowToStartIt) {
  const auto client = Client::connect(*StateFolder::of("one"));
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().message(), "no stack named 'one' is up");
  EXPECT_EQ(client.error().hint(), "lkm-run up --name one");
}

}  // namespace
}  // namespace lkm::control
