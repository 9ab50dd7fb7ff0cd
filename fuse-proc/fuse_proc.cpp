// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/fuse_proc.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "fuse-proc/server.hpp"
#include "fuse-proc/stack_mounts.hpp"
#include "fuse-proc/stale_mount.hpp"
#include "toolkit/base/defer.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/log.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

using fuse::Server;

namespace {

// How long unmounting waits for interrupted work. What is stuck in the kernel then is left there.
constexpr auto kDrainLimit = std::chrono::seconds(2);
// A directory that the host knows holds a descriptor.
constexpr rlim_t kDescriptors = 1 << 20;

std::string& last_complaint() {
  static std::string text;
  return text;
}

void keep_complaint(fuse_log_level, const char* format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof(text), format, arguments);
  last_complaint() = text;
  log::debug("fuse", "{}", text);
}

/// Calls `function`, and gives back what it and its children write to stderr.
template <typename Function>
std::string without_stderr(Function function) {
  const UniqueFd caught(::memfd_create("stderr", MFD_CLOEXEC));
  const UniqueFd saved(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!caught || !saved) {
    function();
    return {};
  }
  ::dup2(caught.get(), STDERR_FILENO);
  function();
  ::dup2(saved.get(), STDERR_FILENO);
  char text[512];
  const ssize_t length = ::pread(caught.get(), text, sizeof(text), 0);
  return {text, static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
}

Result<fuse_session*> mount_session(Server& server, const std::string& mountpoint) {
  char name[] = "lkm-run";
  char option[] = "-o";
  // The type is fuse::kMountType. max_read must agree with the one in operations.cpp.
  char options[] = "fsname=lkm-run,subtype=lkm-run,max_read=131072";
  char* argv[] = {name, option, options, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(3, argv);
  fuse_set_log_func(keep_complaint);
  last_complaint().clear();
  fuse_session* const session =
      fuse_session_new(&arguments, &fuse::operations(), sizeof(fuse_lowlevel_ops), &server);
  fuse_opt_free_args(&arguments);
  if (session == nullptr) return fail(EINVAL, "start a FUSE session ({})", last_complaint());
  int failed = 0;
  std::string complaint =
      without_stderr([&] { failed = fuse_session_mount(session, mountpoint.c_str()); });
  if (failed == 0) return session;
  fuse_session_destroy(session);
  complaint += last_complaint();
  while (complaint.ends_with('\n')) complaint.pop_back();
  return fail_hint(EPERM,
                   ::geteuid() == 0 ? "in a container, allow it CAP_SYS_ADMIN"
                                    : "apt-get install fuse3, which has fusermount3",
                   "mount on '{}' ({})", mountpoint, complaint);
}

}  // namespace

struct FuseProc::Session : std::enable_shared_from_this<Session> {
  Session(Stack& of, std::string path) : stack(of), mountpoint(std::move(path)) {}

  Stack& stack;
  std::string mountpoint;
  Fiber dispatcher;
  std::shared_ptr<Server> server;
  std::optional<Result<void>> begun;

  /// On the dispatcher: all until requests can be served.
  Result<void> begin();
  /// On the dispatcher: serves until the session ends.
  void serve();
};

Result<void> FuseProc::Session::begin() {
  // Our descriptors are in a table of our own, which goes with the last of our fibers.
  if (const long error = stack.syscall(SYS_unshare, CLONE_FILES); error < 0) {
    return fail(static_cast<int>(-error), "unshare the file table in the stack");
  }
  const struct rlimit limit = {kDescriptors, kDescriptors};
  stack.syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, nullptr);
  // Before traffic, for us and the workers: who looks at a busy stack should not wait for its
  // slices. With a stream that keeps the stack busy a read takes 1.5 ms instead of 2 to 4.
  const struct sched_param priority = {.sched_priority = 1};
  stack.syscall(SYS_sched_setscheduler, 0, SCHED_RR, &priority);
  struct stat st;
  const long root = stack.syscall(SYS_open, "/", O_PATH | O_DIRECTORY);
  const long error = root < 0 ? root : stack.syscall(SYS_fstat, root, &st);
  if (error < 0) return fail(static_cast<int>(-error), "open '/' in the stack");
  const long process = stack.syscall(SYS_getpid);
  const long thread = stack.syscall(SYS_gettid);
  auto made = std::make_shared<Server>(stack, static_cast<int>(root), st, std::to_string(process),
                                       fmt::format("{}/task/{}", process, thread),
                                       [weak = weak_from_this()] {
                                         // Work that is stuck in the kernel may end long after us.
                                         if (const auto session = weak.lock())
                                           session->dispatcher.unpark();
                                       });
  LKM_TRY(fuse_session * session, mount_session(*made, mountpoint));
  made->adopt(session);
  const int fd = fuse_session_fd(session);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  server = std::move(made);
  return {};
}

void FuseProc::Session::serve() {
  stack.prefer_latency();
  fuse_session* const session = server->session();
  fuse_buf buffer = {};
  const auto free_buffer = defer([&] { ::free(buffer.mem); });
  while (fuse_session_exited(session) == 0) {
    const int length = fuse_session_receive_buf(session, &buffer);
    if (length > 0) {
      fuse_session_process_buf(session, &buffer);
    } else if (length == -EAGAIN) {
      const auto ready = stack.wait_fd(fuse_session_fd(session), POLLIN);
      if (!ready && ready.error().errno_value() != EINTR) break;
    } else if (length != -EINTR) {
      break;  // 0: unmounted from outside
    }
  }
  server->stop();
  const StackTime deadline = stack.now() + kDrainLimit;
  while (!server->drained() && stack.now() < deadline) stack.park(deadline);
}

Result<std::unique_ptr<FuseProc>> FuseProc::mount(Stack& stack,
                                                  const std::filesystem::path& mountpoint) {
  if (auto device = UniqueFd::open("/dev/fuse", O_RDWR); !device) {
    return Failure(std::move(device).error().with_hint(
        "sudo modprobe fuse && sudo chmod 666 /dev/fuse; in a container, pass the device in"));
  }
  LKM_CHECK(clean_stale(mountpoint));
  std::error_code error;
  std::filesystem::create_directories(mountpoint, error);
  if (error) return fail(error.value(), "make folder '{}'", mountpoint.string());
  LKM_TRY(std::string path, fuse::mountinfo_path(mountpoint));
  LKM_CHECK(fuse::mount_kernel_trees(stack));

  auto session = std::make_shared<Session>(stack, std::move(path));
  LKM_TRY(session->dispatcher, stack.spawn("fuse-dispatch", [session] {
    session->begun = session->begin();
    if (*session->begun) session->serve();
  }));
  while (!session->begun && !session->dispatcher.done()) stack.yield();
  if (!session->begun) return fail(EIO, "serve '{}': the kernel died", session->mountpoint);
  LKM_CHECK(std::move(*session->begun));
  return std::unique_ptr<FuseProc>(new FuseProc(std::move(session)));
}

FuseProc::FuseProc(std::shared_ptr<Session> session) : session_(std::move(session)) {}

FuseProc::~FuseProc() {
  fuse_session* const session = session_->server->session();
  fuse_session_exit(session);
  session_->dispatcher.interrupt();
  session_->dispatcher.join();
  without_stderr([&] { fuse_session_unmount(session); });
  // A connection that was aborted from outside is left mounted by libfuse.
  (void)clean_stale(session_->mountpoint);
}

Result<bool> FuseProc::clean_stale(const std::filesystem::path& mountpoint) {
  return fuse::clean_stale_mount(mountpoint);
}

}  // namespace lkm
