// SPDX-License-Identifier: GPL-2.0
//
// Programs: unmodified programs on a running stack.
//
// `lkm-run exec` puts itself under a seccomp filter, hands its listener to the stack (attach()), and becomes the
// program. From then on each caught call of any thread of the program, and of all that it starts, arrives here.
// A thread has a task in the stack, a fiber (thread.hpp), on which its calls run as they are: the stack's kernel
// follows their pointers into the program's memory. Results, and descriptors (placeholder.hpp), go back with the
// notification's answer.
//
// Which socket a descriptor means is asked of the kernel at each call: it is borrowed from the process, and its
// inode tells. No table of descriptors is kept, so there is none that fork, exec, close or SCM_RIGHTS could make
// wrong.
//
// Signals. A thread that waits for an answer takes no signal but a deadly one: else a call whose effect has
// happened could be lost (seccomp_unotify(2)). One that the stack makes wait long is looked at every 10 ms
// (later 50): if it has a signal to take, the call is interrupted, and the program's own kernel does the rest,
// handler, restart or EINTR. So does one whose thread was killed.
//
// A stack that dies of a new build goes on from a snapshot, and with it the programs' sockets. But what a program
// sent or received since then has happened for the program and not for the stack, so a connection on which it made a
// call since is reset; the others go on. Calls that the stack had received and not answered are made again.
//
// All of it runs on the stack's one thread: a fiber that mirrors readiness, one that keeps house, and those of
// the threads. deliver() alone runs between fibers.
#pragma once

#include <linux/seccomp.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/exec/notifications.hpp"
#include "toolkit/exec/placeholder.hpp"
#include "toolkit/exec/process.hpp"
#include "toolkit/exec/relay.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

class Thread;

/// A socket of the stack that programs have.
struct Socket {
  StackFd fd;
  Placeholder placeholder;
  bool nonblocking = false;  ///< as its file in the stack is set
  unsigned receiving = 0;    ///< calls under way that wait for input themselves
  unsigned sending = 0;
  std::uint32_t calls = 0;     ///< that programs made on it
  std::size_t tally = 0;       ///< place of the same in Programs::tally_
  bool edge_due = false;  ///< input was left; an EPOLLET watcher waits for more
  std::vector<std::pair<std::weak_ptr<Process>, int>> places;  ///< numbers that it was given
  std::uint64_t relay = 0;  ///< inode of its last relay, which may have ended
  std::pair<std::weak_ptr<Process>, int> relay_place;  ///< where that was put
};

/// What a descriptor is.
struct Found {
  std::shared_ptr<Socket> socket;  ///< nullptr: no socket of the stack
  bool relayed = false;            ///< it carries data itself (relay.hpp)
};

/// One `lkm-run exec`: a program and all that it starts.
struct Session {
  Notifications notifications;
  StackFd netns;       ///< the namespace itself: its name may go
  bool ended = false;  ///< no process is left
};

class Programs {
 public:
  /// On a fiber. Errors: as of epoll_create1(2), and of starting fibers.
  static Result<std::unique_ptr<Programs>> start(Stack& stack);
  ~Programs();

  /// Serves the calls that arrive at a listener, in that netns ("" is the first one).
  /// Errors: no such netns.
  Result<void> attach(UniqueFd listener, const std::string& netns);
  /// Programs with processes that run.
  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }

  // -- for Thread ---------------------------------------------------------------------------------
  [[nodiscard]] Stack& stack() const { return stack_; }
  /// By the inode of a placeholder's, or a relay's, end for the program.
  [[nodiscard]] Found find(std::uint64_t inode) const;
  /// The program's end of the socket's relay, which is started if it has none.
  Result<UniqueFd> relay(const std::shared_ptr<Socket>& socket);
  /// A socket from a descriptor of the stack, and its program's end.
  Result<std::pair<std::shared_ptr<Socket>, UniqueFd>> adopt(StackFd fd, bool nonblocking);
  /// Makes the placeholder show what the socket has.
  void show(Socket& socket, int program_end) const;
  /// A thread has begun, or ended, to work on a call.
  void begins(Thread& thread);
  /// A program makes a call on the socket.
  void count(Socket& socket);
  void ends(Thread& thread);

  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

 private:
  Programs(Stack& stack, UniqueFd ends, StackFd readiness, SharedArray<std::uint32_t> tally)
      : stack_(stack), ends_(std::move(ends)), readiness_(std::move(readiness)), tally_(std::move(tally)) {}

  void deliver(const std::shared_ptr<Session>& session);
  void keep_house();
  void admit_new_threads();
  void bury();
  void bury_threads_of(pid_t pid);
  void look_after_calls();
  void mirror();
  void give(const std::shared_ptr<Session>& session, const seccomp_notif& call);
  void go_on_from_snapshot();
  void release(Socket& socket);

  struct NewCall {
    std::shared_ptr<Session> session;
    seccomp_notif call;
  };

  Stack& stack_;
  UniqueFd ends_;      // epoll set of the host: placeholders and processes, for their end
  StackFd readiness_;  // epoll set of the stack: the sockets, by the inodes of their placeholders
  SharedArray<std::uint32_t> tally_;  // calls of each socket, also of those made after a snapshot
  std::size_t next_tally_ = 0;
  bool resumed_ = false;
  std::vector<std::shared_ptr<Session>> sessions_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Socket>> sockets_;  // by inode
  struct Relayed {
    std::shared_ptr<Relay> relay;
    std::shared_ptr<Socket> socket;
  };
  std::unordered_map<std::uint64_t, Relayed> relays_;  // by inode
  std::unordered_map<pid_t, std::shared_ptr<Process>> processes_;
  std::unordered_map<pid_t, std::shared_ptr<Thread>> threads_;  // by tid
  std::vector<NewCall> new_calls_;  // of threads that have no fiber yet
  unsigned busy_ = 0;               // threads that work on a call
  bool looking_ = false;            // after calls that take long
  bool stopping_ = false;
  Fiber house_, mirror_;
};

}  // namespace lkm::exec
