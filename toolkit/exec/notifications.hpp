// SPDX-License-Identifier: GPL-2.0
//
// Notifications: the end of a seccomp filter at which the caught calls arrive (seccomp_unotify(2)).
#pragma once

#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/exec/shared_array.hpp"

namespace lkm::exec {

class Notifications {
 public:
  /// Errors: EINVAL when it is no listener; as mmap(2).
  static Result<Notifications> make(UniqueFd listener);

  [[nodiscard]] int fd() const { return fd_.get(); }
  enum class News { kNone, kCall, kEnd };
  /// Takes a call, if there is one, when poll(2) has just said `events` of fd(). kEnd: no process is left under the filter.
  News receive(unsigned events, seccomp_notif& call);
  /// False once the caller was killed: then its memory may be another's.
  [[nodiscard]] bool valid(std::uint64_t id) const;
  /// In a stack that goes on from a snapshot: calls that were received and not answered since that
  /// was taken. (Those that were answered since are no longer valid.)
  std::vector<seccomp_notif> take_over();
  /// The call ends with `result`, or with an error if that is negative; the kernel's own
  /// -ERESTARTSYS and the like may be among them while the caller has a signal to take. False when
  /// the caller is gone.
  bool answer(std::uint64_t id, long result);
  /// The call is the host's: it runs as if it had not been caught.
  void pass(std::uint64_t id);
  /// Gives the caller a descriptor, and ends the call with its number: `number`, in place of what
  /// was there, or with kLowest the lowest unused one. That, or -errno; -EMFILE and -EBADF above
  /// the caller's limit.
  static constexpr int kLowest = -1;
  int place(std::uint64_t id, int descriptor, int number, bool close_on_exec);
  /// The same, but the call is not ended by it.
  int replace(std::uint64_t id, int descriptor, int number, bool close_on_exec);

 private:
  static constexpr std::size_t kMostOpen = 4096;

  int add(std::uint64_t id, int descriptor, int number, bool close_on_exec, std::uint32_t flags);
  Notifications(UniqueFd listener, SharedArray<seccomp_notif> open)
      : fd_(std::move(listener)), open_(std::move(open)), known_(kMostOpen) {}
  [[nodiscard]] std::optional<std::size_t> place_with(std::uint64_t id, std::uint64_t holds) const;
  void note(const seccomp_notif& call);
  void forget(std::uint64_t id);

  UniqueFd fd_;
  SharedArray<seccomp_notif> open_;  // calls without an answer; id 0: an unused place
  std::vector<std::uint64_t> known_;  // ids of the same, as far as this process has received them
};

}  // namespace lkm::exec
