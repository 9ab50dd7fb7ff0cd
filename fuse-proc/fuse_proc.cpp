// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/fuse_proc.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>

#include "fuse-proc/server.hpp"
#include "fuse-proc/stack_mounts.hpp"
#include "fuse-proc/stale_mount.hpp"
#include "toolkit/base/defer.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

using fuse::Server;

namespace {

// How long unmounting waits for interrupted work. What is stuck in the kernel then is left there.
constexpr auto kDrainLimit = std::chrono::seconds(2);

/// A session that serves a mount that is made.
Result<fuse_session*> session_on(Server& server, const UniqueFd& mounted) {
  fuse_session* const session = fuse::new_session(&server);
  if (session == nullptr) return fail(EINVAL, "start a FUSE session");
  // libfuse takes a mount that others have made by this name, and its descriptor for its own.
  UniqueFd own(::fcntl(mounted.get(), F_DUPFD_CLOEXEC, 0));
  if (own && fuse_session_mount(session, fmt::format("/dev/fd/{}", own.get()).c_str()) == 0) {
    (void)own.release();
    return session;
  }
  const int error = errno;
  fuse_session_destroy(session);
  return fail(error, "serve a mount");
}

}  // namespace

struct FuseProc::Session : std::enable_shared_from_this<Session> {
  Session(Stack& of, Mounter& by, std::filesystem::path path) : stack(of), mounter(by), mountpoint(std::move(path)) {}

  Stack& stack;
  Mounter& mounter;
  std::filesystem::path mountpoint;
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
  LKM_TRY(const UniqueFd mounted, mounter.mount(mountpoint));
  auto served = session_on(*made, mounted);
  if (!served) {
    (void)mounter.unmount(mountpoint);
    return Failure(std::move(served).error());
  }
  fuse_session* const session = *served;
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

Result<std::unique_ptr<FuseProc>> FuseProc::mount(Stack& stack, const std::filesystem::path& mountpoint,
                                                  Mounter& mounter) {
  LKM_CHECK(fuse::mount_kernel_trees(stack));

  auto session = std::make_shared<Session>(stack, mounter, mountpoint);
  LKM_TRY(session->dispatcher, stack.spawn("fuse-dispatch", [session] {
    session->begun = session->begin();
    if (*session->begun) session->serve();
  }));
  while (!session->begun && !session->dispatcher.done()) stack.yield();
  if (!session->begun) return fail(EIO, "serve '{}': the kernel died", mountpoint.string());
  LKM_CHECK(std::move(*session->begun));
  return std::unique_ptr<FuseProc>(new FuseProc(std::move(session)));
}

FuseProc::FuseProc(std::shared_ptr<Session> session) : session_(std::move(session)) {}

void FuseProc::follow_netns(std::function<std::string(pid_t)> task_of) { session_->server->follow_netns(std::move(task_of)); }

FuseProc::~FuseProc() {
  fuse_session* const session = session_->server->session();
  fuse_session_exit(session);
  session_->dispatcher.interrupt();
  session_->dispatcher.join();
  (void)session_->mounter.unmount(session_->mountpoint);
}

Result<bool> FuseProc::clean_stale(const std::filesystem::path& mountpoint) {
  return fuse::clean_stale_mount(mountpoint);
}

}  // namespace lkm
