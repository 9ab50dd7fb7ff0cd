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
namespace {

constexpr std::size_t kMostTried = 64;

}  // namespace

Result<Notifications> Notifications::make(UniqueFd listener) {
  const std::uint64_t none = 0;
  if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &none) == 0 || errno != ENOENT) {
    return fail(EINVAL, "descriptor {} is no listener of a seccomp filter", listener.get());
  }
  // The two sides take turns: the scheduler may keep them on one core, where waking costs least.
  // Without it (before 6.6) all works as well.
  (void)::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  LKM_TRY(auto open, SharedArray<seccomp_notif>::make(kMostOpen));
  return Notifications(std::move(listener), std::move(open));
}

/// Ids are given one after the other, so the first place that is tried is the right one as a rule. `holds`: the id there,
/// 0 for an unused place.
std::optional<std::size_t> Notifications::place_with(std::uint64_t id, std::uint64_t holds) const {
  for (std::size_t tried = 0; tried < kMostTried; ++tried) {
    const std::size_t place = (id + tried) % kMostOpen;
    if (open_[place].id == holds) return place;
  }
  return std::nullopt;
}

/// Where there is no place left, the call is served all the same, but would not survive a snapshot.
void Notifications::note(const seccomp_notif& call) {
  const auto place = place_with(call.id, 0);
  if (!place) return;
  open_[*place] = call;
  known_[*place] = call.id;
}

void Notifications::forget(std::uint64_t id) {
  const auto place = place_with(id, id);
  if (place) open_[*place].id = known_[*place] = 0;
}

std::vector<seccomp_notif> Notifications::take_over() {
  std::vector<seccomp_notif> unknown;
  for (std::size_t place = 0; place < kMostOpen; ++place) {
    const seccomp_notif& call = open_[place];
    if (call.id != 0 && known_[place] != call.id) unknown.push_back(call);
    known_[place] = call.id;
  }
  return unknown;
}

Notifications::News Notifications::receive(unsigned events, seccomp_notif& call) {
  if ((events & POLLIN) == 0) return News::kEnd;
  // The request blocks when nothing is there, whatever the descriptor's flags; but one that poll(2) has told of can be
  // taken by nobody else, and if its caller is killed, the request ends with ENOENT.
  call = {};
  if (::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return News::kNone;
  note(call);
  return News::kCall;
}

bool Notifications::valid(std::uint64_t id) const {
  return ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool Notifications::answer(std::uint64_t id, long result) {
  forget(id);
  seccomp_notif_resp response{};
  response.id = id;
  if (result < 0) {
    response.error = int(result);
  } else {
    response.val = result;
  }
  return ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

void Notifications::pass(std::uint64_t id) {
  forget(id);
  seccomp_notif_resp response{};
  response.id = id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  (void)::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

int Notifications::place(std::uint64_t id, int descriptor, int number, bool close_on_exec) {
  const int result = add(id, descriptor, number, close_on_exec, SECCOMP_ADDFD_FLAG_SEND);
  if (result >= 0) forget(id);
  return result;
}

int Notifications::replace(std::uint64_t id, int descriptor, int number, bool close_on_exec) {
  return add(id, descriptor, number, close_on_exec, 0);
}

int Notifications::add(std::uint64_t id, int descriptor, int number, bool close_on_exec, std::uint32_t flags) {
  seccomp_notif_addfd request{};
  request.id = id;
  request.srcfd = std::uint32_t(descriptor);
  request.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  request.flags = flags;
  if (number != kLowest) {
    request.flags |= SECCOMP_ADDFD_FLAG_SETFD;
    request.newfd = std::uint32_t(number);
  }
  // It waits for the caller to take the descriptor. A signal in between (the stack's tick) would
  // leave the call answered with 0, and no descriptor (kernel/seccomp.c, seccomp_notify_addfd()).
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int placed = ::ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
  const int result = placed >= 0 ? placed : -errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

}  // namespace lkm::exec
