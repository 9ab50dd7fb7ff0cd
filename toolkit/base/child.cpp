// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/child.hpp"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include "toolkit/base/defer.hpp"

namespace lkm {
namespace {

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

// A descriptor above the standard three: one that happens to be 0, 1 or 2 (a caller with closed
// standard descriptors) would be overwritten by the child's own redirections.
Result<UniqueFd> above_standard(UniqueFd fd) {
  if (fd.get() > STDERR_FILENO) return fd;
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!moved) return fail(errno, "duplicate a descriptor");
  return moved;
}

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno, "make a pipe");
  UniqueFd read(ends[0]);
  UniqueFd write(ends[1]);
  if (::fcntl(read.get(), F_SETFL, O_NONBLOCK) != 0) return fail(errno, "make a pipe");
  LKM_TRY(auto high_write, above_standard(std::move(write)));
  return Pipe{std::move(read), std::move(high_write)};
}

std::vector<std::string> merged_environment(
    const std::map<std::string, std::optional<std::string>>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!changes.contains(text.substr(0, text.find('=')))) merged.push_back(text);
  }
  for (const auto& [name, value] : changes) {
    if (value) merged.push_back(name + "=" + *value);
  }
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& string : strings) result.push_back(string.data());
  result.push_back(nullptr);
  return result;
}

ExitStatus status_of(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {.code = info.si_status, .signal = 0};
  return {.code = 128 + info.si_status, .signal = info.si_status};
}

Result<void> wait_readable(int fd, const char* what) {
  struct pollfd poll {
    .fd = fd, .events = POLLIN, .revents = 0
  };
  while (::poll(&poll, 1, -1) < 0) {
    if (errno != EINTR) return fail(errno, "{}", what);
  }
  return {};
}

}  // namespace

Result<Child> Child::spawn(const Options& options) {
  if (options.argv.empty() || options.argv[0].empty()) return fail(EINVAL, "start a program");

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (const int error = ::posix_spawn_file_actions_init(&actions)) return fail(error, "spawn");
  auto free_actions = defer([&] { ::posix_spawn_file_actions_destroy(&actions); });
  if (const int error = ::posix_spawnattr_init(&attributes)) return fail(error, "spawn");
  auto free_attributes = defer([&] { ::posix_spawnattr_destroy(&attributes); });

  // A group of its own; and none of the caller's ignored or blocked signals (a make that ignores
  // SIGPIPE or SIGTERM could not be stopped).
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(
      &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  Pipe out;
  Pipe err;
  const auto redirect = [&](Output output, int target, Pipe& pipe) -> Result<void> {
    switch (output) {
      case Output::kInherit:
        break;
      case Output::kNull:
        ::posix_spawn_file_actions_addopen(&actions, target, "/dev/null", O_WRONLY, 0);
        break;
      case Output::kPipe: {
        LKM_TRY(pipe, make_pipe());
        ::posix_spawn_file_actions_adddup2(&actions, pipe.write.get(), target);
        break;
      }
      case Output::kWithOut:
        ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, target);
        break;
    }
    return {};
  };
  LKM_CHECK(redirect(options.out, STDOUT_FILENO, out));
  LKM_CHECK(redirect(options.err, STDERR_FILENO, err));
  if (!options.directory.empty()) {
    ::posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
  }

  auto arguments = options.argv;
  auto environment = merged_environment(options.environment);
  pid_t pid = -1;
  if (const int error = ::posix_spawnp(&pid, arguments[0].c_str(), &actions, &attributes,
                                       pointers(arguments).data(), pointers(environment).data())) {
    return options.directory.empty()
               ? fail(error, "start '{}'", arguments[0])
               : fail(error, "start '{}' in '{}'", arguments[0], options.directory.string());
  }
  // No race: the process stays at least as a zombie, and its pid taken, until we wait for it.
  // The system call itself, as <sys/pidfd.h> of glibc 2.36 declares pidfd_open() with C++ linkage.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int error = errno;
  Child child(pid, std::move(pidfd), std::move(out.read), std::move(err.read));
  if (!child.pidfd_) return fail(error, "open a pidfd of '{}'", arguments[0]);
  return child;
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      out_(std::move(other.out_)),
      err_(std::move(other.err_)),
      status_(std::exchange(other.status_, std::nullopt)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    reset();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    out_ = std::move(other.out_);
    err_ = std::move(other.err_);
    status_ = std::exchange(other.status_, std::nullopt);
  }
  return *this;
}

void Child::reset() {
  if (pid_ < 0 || status_) return;
  const int saved = errno;
  signal(SIGKILL);
  int ignored = 0;
  while (::waitpid(pid_, &ignored, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  errno = saved;
}

Result<std::string> Child::read_all() {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(out_.get(), buffer, sizeof buffer);
    if (got == 0) return text;
    if (got > 0) {
      text.append(buffer, static_cast<std::size_t>(got));
    } else if (errno == EAGAIN) {
      LKM_CHECK(wait_readable(out_.get(), "wait for a child's output"));
    } else if (errno != EINTR) {
      return fail(errno, "read a child's output");
    }
  }
}

Result<ExitStatus> Child::wait() {
  LKM_TRY(const auto status, wait_for(std::chrono::milliseconds::max()));
  return *status;
}

Result<std::optional<ExitStatus>> Child::wait_for(std::chrono::milliseconds limit) {
  using Clock = std::chrono::steady_clock;
  const bool forever = limit == std::chrono::milliseconds::max();
  const auto start = Clock::now();
  while (!status_) {
    int timeout_ms = -1;
    if (!forever) {
      const auto left =
          limit - std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
      timeout_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
    }
    struct pollfd poll {
      .fd = pidfd_.get(), .events = POLLIN, .revents = 0
    };
    const int ready = ::poll(&poll, 1, timeout_ms);
    if (ready < 0 && errno != EINTR) return fail(errno, "wait for process {}", pid_);
    if (ready == 0) return std::nullopt;
    if (ready < 0) continue;
    siginfo_t info{};
    if (::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED) == 0) {
      status_ = status_of(info);
    } else if (errno != EINTR) {
      return fail(errno, "wait for process {}", pid_);
    }
  }
  return status_;
}

void Child::signal(int number) {
  // Only while the leader is not yet waited for is the group's number surely still ours.
  if (pid_ > 0 && !status_) ::kill(-pid_, number);
}

Result<ExitStatus> Child::stop(std::chrono::milliseconds grace) {
  signal(SIGTERM);
  LKM_TRY(const auto status, wait_for(grace));
  if (status) return *status;
  signal(SIGKILL);
  return wait();
}

}  // namespace lkm
