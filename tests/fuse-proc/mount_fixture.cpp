// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <regex>

#include "tests/fuse-proc/mount_test.hpp"
#include "toolkit/build/module_build.hpp"

namespace lkm {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Longer than anything here takes on a loaded machine.
constexpr auto kPatience = 60s;

HostProcess::HostProcess(Stack& stack, const std::function<void(int out)>& body) : stack_(&stack) {
  int in[2];
  int out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) std::abort();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::setpgid(0, 0);
    ::dup2(in[0], STDIN_FILENO);
    ::close(in[1]);
    body(out[1]);
    ::_exit(0);
  }
  ::close(in[0]);
  ::close(out[1]);
  in_ = UniqueFd(in[1]);
  out_ = UniqueFd(out[0]);
  pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
}

HostProcess::~HostProcess() {
  if (!pidfd_) return;
  kill();
  finish();
}

bool HostProcess::read_more() {
  const auto ready = stack_->wait_fd(out_.get(), POLLIN, stack_->now() + kPatience);
  if (!ready) return false;
  char text[4096];
  const ssize_t length = ::read(out_.get(), text, sizeof(text));
  if (length <= 0) return false;
  pending_.append(text, static_cast<std::size_t>(length));
  return true;
}

std::string HostProcess::read_line() {
  while (pending_.find('\n') == std::string::npos && read_more()) continue;
  const std::size_t end = pending_.find('\n');
  std::string line = pending_.substr(0, end);
  pending_.erase(0, end == std::string::npos ? end : end + 1);
  return line;
}

void HostProcess::write(std::string_view text) {
  EXPECT_EQ(::write(in_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

void HostProcess::kill() { ::kill(-pid_, SIGKILL); }

std::string HostProcess::finish() {
  in_.reset();
  while (read_more()) continue;
  std::string text = std::move(pending_);
  if (!stack_->wait_fd(pidfd_.get(), POLLIN, stack_->now() + kPatience)) {
    ADD_FAILURE() << "the process does not end; so far: " << text;
    kill();
    (void)stack_->wait_fd(pidfd_.get(), POLLIN, stack_->now() + kPatience);
  }
  pidfd_.reset();
  int status = 0;
  ::waitpid(pid_, &status, WNOHANG);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code != 0) text += fmt::format("exit {}\n", code);
  return text;
}

std::string MountTest::path(const std::string& name) const {
  const fs::path mountpoint = fs::canonical(work_.path()) / "mnt";
  return name.empty() ? mountpoint.string() : (mountpoint / name).string();
}

void MountTest::with_mount(const std::function<void()>& body) {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
  std::string log;
  const auto result =
      Stack::run({.library = fs::path(image) / "libos.so",
                  .module_path = {fs::path(image) / "modules"},
                  .console = [&](std::string_view text) { log += text; }},
                 [&](Stack& stack) {
                   auto mounted = FuseProc::mount(stack, path(""));
                   if (!mounted) {
                     const int error = mounted.error().errno_value();
                     EXPECT_TRUE(error == ENOENT || error == EACCES || error == EPERM)
                         << mounted.error().message();
                     return 1;
                   }
                   mount_ = std::move(*mounted);
                   body();
                   mount_.reset();
                   return 0;
                 });
  ASSERT_TRUE(result) << result.error().message() << "\n" << log;
  if (*result != 0) GTEST_SKIP() << "needs /dev/fuse and the right to mount";
  if (!expected_.empty()) {
    EXPECT_TRUE(std::regex_search(log, std::regex(expected_))) << log;
  } else {
    EXPECT_FALSE(std::regex_search(log, std::regex("WARNING:|BUG:|Oops|Call Trace"))) << log;
  }
}

void MountTest::with_probe(const std::function<void()>& body) {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
  const fs::path source = LKM_SOURCE_DIR;
  const fs::path work = LKM_WORK_DIR;
  auto build = ModuleBuild::open({.folder = source / "tests/fuse-proc/fuseprobe",
                                  .kernel = image,
                                  .work = work / "builds",
                                  .plugins = work / "plugins",
                                  .linker = source / "Kbuild/plugin",
                                  .compile_commands = false});
  ASSERT_TRUE(build) << build.error().message();
  const auto built = build->run();
  ASSERT_TRUE(built) << built.error().message() << "\n" << build->output();
  ASSERT_EQ(built->modules.size(), 1u);
  plugin_ = built->modules[0].plugin;
  with_mount([&] {
    load_probe();
    body();
  });
}

void MountTest::load_probe(const std::string& parameters) {
  const auto loaded = stack().load(plugin_, parameters);
  ASSERT_TRUE(loaded) << loaded.error().message();
}

HostProcess MountTest::start_host_process(const std::function<void(int out)>& body) {
  return HostProcess(stack(), body);
}

HostProcess MountTest::start_shell(const std::string& command) {
  return start_host_process([&](int out) {
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::setenv("M", path("").c_str(), 1);
    ::setenv("LC_ALL", "C", 1);
    if (::chdir(work_.path().c_str()) == 0) {
      ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    }
    ::_exit(126);
  });
}

std::string MountTest::in_host_process(const std::function<std::string()>& body) {
  return start_host_process([&](int out) {
           const std::string text = body();
           (void)!::write(out, text.data(), text.size());
         })
      .finish();
}

}  // namespace lkm
