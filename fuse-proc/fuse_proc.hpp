// SPDX-License-Identifier: GPL-2.0
//
// FuseProc: /proc and /sys of a running stack, on the host.
//
//   LKM_TRY(auto mount, FuseProc::mount(stack, state_folder / "mnt"));
//   // elsewhere: cat …/mnt/proc/net/tcp, ls …/mnt/sys/class/net, echo 1 > …/mnt/proc/sys/net/…
//
// Below the mount point are `proc/` and `sys/` (with sys/kernel/debug and sys/kernel/tracing where
// the stack has them). Files behave as in the stack: values are live, each open has its own view,
// errors come through, reads that wait can be interrupted, poll(2) works. /proc/self is a task of
// the stack that serves the mount. As root on a real /proc, reading kmsg or trace_pipe waits for
// new text, unless it was opened with O_NONBLOCK (as `grep -r` does).
//
// Only the user who mounted has access (FUSE's default). There the files of the stack are used with
// the rights of the stack's root.
//
// The process that holds the stack must never touch the mount itself: it would wait for its own
// answer.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "fuse-proc/mounter.hpp"
#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"

namespace lkm {

class FuseProc {
 public:
  /// Mounts on the folder, which is made when it is not there; a dead mount that lies on it is
  /// cleaned first. Only on a fiber of `stack`, which must outlive the result. Blocks the stack for
  /// the milliseconds that mounting takes. Errors: ENODEV without /dev/fuse, ENOENT without
  /// fusermount3 (needed unless root), EBUSY when something alive is mounted there, as mount(2).
  /// `mounter` does that for a process that may not, and must outlive the result.
  static Result<std::unique_ptr<FuseProc>> mount(Stack& stack,
                                                 const std::filesystem::path& mountpoint,
                                                 Mounter& mounter = Mounter::here());

  /// In whose netns a thread of the host looks: /proc/net, /proc/sys/net, /sys/class/net and /sys/devices/virtual/net are
  /// those of a task of the stack, named as below its /proc ("12/task/12"), that has a sysfs of its netns on /sys; "" for
  /// the netns of the task that mounted. `task_of` is called on a fiber, and must not wait for the mount.
  void follow_netns(std::function<std::string(pid_t)> task_of);

  /// Unmounts: requests under way end with EINTR or ENOTCONN. Only on a fiber of the stack.
  ~FuseProc();

  /// Lazily unmounts what a stack that is gone (`kill -9`) has left at the mount point. True when
  /// there was something. Never touches a live mount. Callable from any process. Errors: EBUSY when
  /// a running process serves it, as umount2(2).
  static Result<bool> clean_stale(const std::filesystem::path& mountpoint);

  FuseProc(const FuseProc&) = delete;
  FuseProc& operator=(const FuseProc&) = delete;

 private:
  struct Session;
  explicit FuseProc(std::shared_ptr<Session> session);

  std::shared_ptr<Session> session_;
};

}  // namespace lkm
