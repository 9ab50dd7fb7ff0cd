// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/notifications.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <cerrno>

// Of Linux 6.6, which Debian 12's headers do not have.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace lkm::exec {

Notifications::Notifications(UniqueFd listener) : fd_(std::move(listener)) {
  // The two sides take turns: the scheduler may keep them on one core, where waking costs least. Without it
  // (before 6.6) all works as well.
  (void)::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

Notifications::News Notifications::receive(seccomp_notif& call) {
  for (;;) {
    // The request blocks when nothing is there, whatever the descriptor's flags.
    pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 0) <= 0) return News::kNone;
    if ((ready.revents & POLLIN) == 0) return News::kEnd;
    call = {};
    if (::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) == 0) return News::kCall;
    if (errno != ENOENT && errno != EINTR) return News::kNone;  // ENOENT: the caller was killed
  }
}

bool Notifications::valid(std::uint64_t id) const {
  return ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool Notifications::answer(std::uint64_t id, long result) const {
  seccomp_notif_resp response{};
  response.id = id;
  if (result < 0) {
    response.error = int(result);
  } else {
    response.val = result;
  }
  return ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

void Notifications::pass(std::uint64_t id) const {
  seccomp_notif_resp response{};
  response.id = id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  (void)::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

int Notifications::place(std::uint64_t id, int descriptor, int number, bool close_on_exec,
                         bool then_answer) const {
  seccomp_notif_addfd request{};
  request.id = id;
  request.srcfd = std::uint32_t(descriptor);
  request.newfd = std::uint32_t(number);
  request.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  request.flags = SECCOMP_ADDFD_FLAG_SETFD | (then_answer ? SECCOMP_ADDFD_FLAG_SEND : 0U);
  // It waits for the caller to take the descriptor. A signal in between (the stack's tick) would leave the call
  // answered with 0, and no descriptor (kernel/seccomp.c, seccomp_notify_addfd()).
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request) >= 0 ? 0 : -errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

}  // namespace lkm::exec
