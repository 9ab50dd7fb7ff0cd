// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/snapshot.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace lkm {
namespace {

/// Of what is told to the copy. Together they fit into a pipe, so that the original need not wait for the copy.
constexpr std::size_t kLongestWhy = 1024;
constexpr std::size_t kLongestLog = 48 * 1024;

/// All that comes until the other end is closed.
std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> piece;
  for (;;) {
    const ssize_t n = ::read(fd, piece.data(), piece.size());
    if (n > 0) {
      text.append(piece.data(), std::size_t(n));
    } else if (n == 0 || errno != EINTR) {
      return text;
    }
  }
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) text.remove_prefix(std::size_t(n));
  }
  return true;
}

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
  if (::getppid() != parent) ::_exit(0);
  const std::string told = read_all(reader.get());
  if (told.size() < sizeof(died_ns_)) ::_exit(0);
  std::memcpy(&died_ns_, told.data(), sizeof(died_ns_));
  const auto end = told.find('\0', sizeof(died_ns_));
  why_ = told.substr(sizeof(died_ns_), end - sizeof(died_ns_));
  log_ = end == std::string::npos ? "" : told.substr(end + 1);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  return Side::kCopy;
}

void Snapshot::drop() {
  if (child_ == 0) return;
  pipe_ = UniqueFd();
  ::waitpid(std::exchange(child_, 0), nullptr, 0);
}

void Snapshot::resume(std::string_view why, std::string_view log, std::uint64_t died_ns) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  // Files that the copy has closed must be closed: a client waits for that. What we lock, it locks anew.
  const auto pipe = unsigned(pipe_.get());
  if (pipe > 3) ::syscall(SYS_close_range, 3, pipe - 1, 0);
  ::syscall(SYS_close_range, pipe + 1, ~0u, 0);
  why = why.empty() ? std::string_view("it died") : why.substr(0, kLongestWhy);
  log.remove_prefix(log.size() - std::min(log.size(), kLongestLog));
  const std::string_view when(reinterpret_cast<const char*>(&died_ns), sizeof(died_ns));
  const bool told = write_all(pipe_.get(), when) && write_all(pipe_.get(), why) &&
                    write_all(pipe_.get(), {"", 1}) && write_all(pipe_.get(), log);
  if (!told) ::_exit(128 + SIGABRT);
  ::close(pipe_.get());
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
