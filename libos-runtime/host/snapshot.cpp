// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/snapshot.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace lkm {
namespace {

/// Of the text that is told to the copy; one write(2) to a pipe of no more is atomic.
constexpr std::size_t kLongestWhy = 512;

}  // namespace

Result<Snapshot::Side> Snapshot::take() {
  drop();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(errno, "pipe2");
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child != 0) {
    const int error = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    if (child < 0) return fail(error, "take a snapshot: fork");
    child_ = child;
    pipe_ = std::move(writer);
    return Side::kOriginal;
  }
  writer = UniqueFd();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::array<char, kLongestWhy> why{};
  ssize_t n = 0;
  if (::getppid() == parent) {
    do {
      n = ::read(reader.get(), why.data(), why.size());
    } while (n < 0 && errno == EINTR);
  }
  if (n <= 0) ::_exit(0);
  why_.assign(why.data(), std::size_t(n));
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return Side::kCopy;
}

void Snapshot::drop() {
  if (child_ == 0) return;
  pipe_ = UniqueFd();
  ::waitpid(std::exchange(child_, 0), nullptr, 0);
}

void Snapshot::resume(std::string_view why) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  // Files that the copy has closed must be closed: a client waits for that. What we lock, it locks anew.
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const int most = int(std::min<rlim_t>(limit.rlim_cur, 65536));
  for (int fd = 3; fd < most; ++fd) {
    if (fd != pipe_.get()) ::close(fd);
  }
  const auto text = why.empty() ? std::string_view("it died") : why.substr(0, kLongestWhy);
  if (::write(pipe_.get(), text.data(), text.size()) < 0) ::_exit(128 + SIGABRT);
  for (;;) {
    int signal = 0;
    ::sigwait(&all, &signal);
    if (signal == SIGCHLD) {
      int status = 0;
      if (::waitpid(child_, &status, WNOHANG) != child_) continue;
      ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    if (signal == SIGTERM || signal == SIGINT || signal == SIGHUP || signal == SIGQUIT) {
      ::kill(child_, signal);
    }
  }
}

}  // namespace lkm
