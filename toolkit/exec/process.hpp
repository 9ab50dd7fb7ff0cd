// SPDX-License-Identifier: GPL-2.0
//
// Process: a process of a program on the stack, seen from the stack.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/exec/net_seat.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

class Process {
 public:
  /// The one that thread `tid` belongs to. Errors: ESRCH when it ended.
  static Result<std::shared_ptr<Process>> of_thread(pid_t tid);

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Readable once it ended (pidfd_open(2)).
  [[nodiscard]] int fd() const { return pidfd_.get(); }

  /// Another descriptor of the file that the process has as `number` (pidfd_getfd(2)).
  /// Errors: EBADF when there is none; ESRCH; EPERM when the stack may not look into the process.
  [[nodiscard]] Result<UniqueFd> borrow(int number) const;

  /// A number whose file is another one for a moment, and what is to be there again (packet_ring.hpp).
  struct Borrowed {
    int number;
    std::uint64_t there_now;  ///< st_ino
    UniqueFd descriptor;
    bool close_on_exec;
  };
  std::vector<Borrowed> borrowed;

  /// That it has entered, or one of those that it descends from; nullptr: the one in which it was started.
  std::shared_ptr<StackFd> netns;
  /// Who looks at /proc and /sys for it there; nullptr: who does for where it was started, or nobody.
  std::shared_ptr<NetSeat> seat;
  /// Both as they were when it was first seen.
  std::shared_ptr<StackFd> first_netns;
  std::shared_ptr<NetSeat> first_seat;

  /// An unused number for a socket whose reads and writes are to be caught (filter.hpp), from
  /// `from` on; -EMFILE when there is none.
  int unused_number(int from);
  /// `number` may be unused again.
  void released(int number);

 private:
  Process(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  pid_t pid_;
  UniqueFd pidfd_;

  int all_used_below_ = 0;
};

/// What /proc tells of a thread's signals.
enum class Pending {
  kNone,
  kForIt,     ///< it has a signal to take, and will
  kForOneOf,  ///< its process has one, which this thread or another may take
};
Pending pending_signal(const Process& process, pid_t tid);

/// The process of a thread; 0 when it is gone.
pid_t process_of(pid_t tid);

/// That started it, or took it on; 0 when it is gone.
pid_t parent_of(pid_t pid);

/// Its name, as ps(1) shows it.
std::string thread_name(pid_t tid);

/// st_ino of an open file; 0 when there is none.
std::uint64_t inode_of(int descriptor);
/// The same if it is a socket of the host, else 0.
std::uint64_t socket_inode(int descriptor);

}  // namespace lkm::exec
