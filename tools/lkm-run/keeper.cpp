// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/keeper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "toolkit/base/descriptor_message.hpp"
#include "tools/lkm-run/confinement.hpp"

namespace lkm::cli {
namespace {

// A request is one of these and a path. The answer is an errno, and of an error its text and hint, each ended by a zero;
// of a mount or an uplink the descriptor goes with it.
constexpr char kMount = 'm', kUnmount = 'u', kLeaveTerminal = 'l', kStartAgain = 'a', kUplink = 'x';
constexpr std::size_t kLongest = 8192;  // bytes of a request or an answer

/// None: -1.
Result<void> say(int channel, std::string_view bytes, int descriptor = -1) {
  const std::span one(&descriptor, descriptor >= 0 ? 1 : 0);
  return send_message(channel, std::as_bytes(std::span(bytes.substr(0, kLongest))), one);
}

/// Empty when the other end is gone.
std::string hear(int channel, UniqueFd* descriptor = nullptr) {
  std::string bytes(kLongest, '\0');
  auto received = receive_message(channel, std::as_writable_bytes(std::span(bytes)));
  if (!received) return {};
  bytes.resize(received->size);
  if (descriptor != nullptr && !received->descriptors.empty()) *descriptor = std::move(received->descriptors.front());
  return bytes;
}

std::string answer_of(const Error* error) {
  const int number = error != nullptr ? error->errno_value() : 0;
  std::string bytes(reinterpret_cast<const char*>(&number), sizeof number);
  if (error != nullptr) bytes += error->what() + '\0' + error->hint() + '\0';
  return bytes;
}

/// What the keeper does until its child has ended.
class Keeping {
 public:
  Keeping(UniqueFd channel, std::filesystem::path folder, pid_t child)
      : channel_(std::move(channel)), folder_(std::move(folder)), child_(child) {}

  /// The child's status (wait(2)).
  int until_the_end(int signals) {
    std::array<pollfd, 2> fds = {pollfd{.fd = channel_.get(), .events = POLLIN, .revents = 0},
                                 pollfd{.fd = signals, .events = POLLIN, .revents = 0}};
    for (;;) {
      int status = 0;
      for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        if (ended != child_) continue;  // an uplink
        take_requests();                // it may have asked to be started again
        return status;
      }
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return 0;
      if (fds[0].revents != 0 && !take_requests()) fds[0].fd = -1;
      signalfd_siginfo info;
      if (fds[1].revents == 0 || ::read(signals, &info, sizeof info) != sizeof info) continue;
      // From a terminal the child has it as well.
      if (info.ssi_signo != SIGCHLD) ::kill(child_, int(info.ssi_signo));
    }
  }
  [[nodiscard]] bool again() const { return again_; }

 private:
  /// False when there will be none any more.
  bool take_requests() {
    pollfd ready{.fd = channel_.get(), .events = POLLIN, .revents = 0};
    while (::poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) != 0) {
      const std::string request = hear(channel_.get());
      if (request.empty()) return false;
      serve(request[0], request.substr(1));
    }
    return (ready.revents & POLLHUP) == 0;
  }

  void serve(char what, const std::filesystem::path& path) {
    switch (what) {
      case kStartAgain:
        again_ = true;
        return;
      case kLeaveTerminal: {
        const UniqueFd log(::open((folder_ / "log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
        ::dup2(log.get(), STDOUT_FILENO);
        ::dup2(log.get(), STDERR_FILENO);
        return;
      }
      case kMount: {
        auto mounted = ours(path) ? Mounter::here().mount(path) : fail(EPERM, "mount on '{}'", path.string());
        (void)say(channel_.get(), answer_of(mounted ? nullptr : &mounted.error()), mounted ? mounted->get() : -1);
        return;
      }
      case kUnmount: {
        const auto done = ours(path) ? Mounter::here().unmount(path) : fail(EPERM, "unmount '{}'", path.string());
        (void)say(channel_.get(), answer_of(done ? nullptr : &done.error()));
        return;
      }
      case kUplink: {
        auto end = start_uplink(path == "host" ? Reach::kHost : Reach::kInternet);
        (void)say(channel_.get(), answer_of(end ? nullptr : &end.error()), end ? end->get() : -1);
        return;
      }
      default:
        return;
    }
  }

  /// The stack's end of its wire.
  static Result<UniqueFd> start_uplink(Reach reach) {
    LKM_TRY(auto uplink, Uplink::make(reach));
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
      return fail(errno, "make a socket pair");
    UniqueFd to_stack(ends[0]), frames(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0) return fail(errno, "start an uplink");
    if (pid > 0) return to_stack;
    // It must not have what others wait for the end of.
    UniqueFd kept(::fcntl(frames.get(), F_DUPFD_CLOEXEC, 3));
    ::dup2(kept.get(), 3);
    ::syscall(SYS_close_range, 4, ~0U, 0);
    (void)kept.release();
    (void)frames.release();
    (void)to_stack.release();
    ::prctl(PR_SET_NAME, "lkm-run-uplink");
    if (confine(Confined::kUplink)) uplink.serve(UniqueFd(3));
    ::_exit(0);
  }

  /// Whatever has become of the stack, it is mounted on its own folders only.
  [[nodiscard]] bool ours(const std::filesystem::path& path) const {
    const auto [mine, its] = std::mismatch(folder_.begin(), folder_.end(), path.begin(), path.end());
    return mine == folder_.end() && its != path.end() && std::find(its, path.end(), "..") == path.end();
  }

  UniqueFd channel_;
  std::filesystem::path folder_;
  pid_t child_;
  bool again_ = false;
};

}  // namespace

Result<std::unique_ptr<Keeper>> Keeper::begin(std::filesystem::path folder, const std::function<void()>& start_again) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return fail(errno, "make a socket pair");
  UniqueFd to_keeper(ends[0]), to_stack(ends[1]);
  sigset_t mine, before;
  sigemptyset(&mine);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) sigaddset(&mine, number);
  ::sigprocmask(SIG_BLOCK, &mine, &before);
  const pid_t keeper = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    const int error = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return fail(error, "start the stack's process");
  }
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != keeper) ::_exit(1);
    to_stack.reset();
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return std::unique_ptr<Keeper>(new Keeper(std::move(to_keeper)));
  }
  to_keeper.reset();
  ::prctl(PR_SET_NAME, "lkm-run-keeper");
  const UniqueFd signals(::signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK));
  Keeping keeping(std::move(to_stack), std::move(folder), child);
  const int status = keeping.until_the_end(signals.get());
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (keeping.again()) start_again();
  if (WIFSIGNALED(status)) {
    // As it ended; its core is the child's.
    const rlimit no_core{};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::signal(WTERMSIG(status), SIG_DFL);
    ::raise(WTERMSIG(status));
  }
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

Result<UniqueFd> Keeper::ask(char what, const std::filesystem::path& path) {
  LKM_CHECK(say(channel_.get(), what + path.string()));
  UniqueFd descriptor;
  const std::string answer = hear(channel_.get(), &descriptor);
  int error = 0;
  if (answer.size() < sizeof error) return fail(EPIPE, "the process beside the stack ended");
  std::memcpy(&error, answer.data(), sizeof error);
  if (error == 0) return descriptor;
  const auto end = answer.find('\0', sizeof error);
  const std::string text = answer.substr(sizeof error, end - sizeof error);
  const std::string hint = end == std::string::npos ? "" : answer.substr(end + 1, answer.find('\0', end + 1) - end - 1);
  return fail_hint(error, hint, "{}", text);
}

Result<UniqueFd> Keeper::mount(const std::filesystem::path& mountpoint) { return ask(kMount, mountpoint); }

Result<UniqueFd> Keeper::uplink(Reach reach) { return ask(kUplink, reach == Reach::kHost ? "host" : "internet"); }

Result<void> Keeper::unmount(const std::filesystem::path& mountpoint) {
  LKM_TRY(const UniqueFd none, ask(kUnmount, mountpoint));
  return {};
}

void Keeper::leave_terminal() { (void)say(channel_.get(), std::string(1, kLeaveTerminal)); }

void Keeper::start_again() {
  (void)say(channel_.get(), std::string(1, kStartAgain));
  ::_exit(1);
}

}  // namespace lkm::cli
