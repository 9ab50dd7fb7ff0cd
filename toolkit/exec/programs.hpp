// SPDX-License-Identifier: GPL-2.0
//
// Programs: unmodified programs on a running stack.
//
// `lkm-run exec` puts itself under a seccomp filter, hands its listener to the stack (attach()),
// and becomes the program. From then on each caught call of any thread of the program, and of all
// that it starts, arrives here. A thread has a task in the stack, a fiber (thread.hpp), on which
// its calls run as they are: the stack's kernel follows their pointers into the program's memory.
// Results, and descriptors (placeholder.hpp), go back with the notification's answer.
//
// The data of a TCP connection is no call's affair: it flows through the descriptor (stream.hpp).
// Setting one up, and what is asked about it, is.
//
// Which socket a descriptor means is asked of the kernel at each call: it is borrowed from the
// process, and its inode tells. No table of descriptors is kept, so there is none that fork, exec,
// close or SCM_RIGHTS could make wrong.
//
// Signals. A thread that waits for an answer takes no signal but a deadly one: else a call whose
// effect has happened could be lost (seccomp_unotify(2)). One that the stack makes wait long is
// looked at every 10 ms (later 50): if it has a signal to take, the call is interrupted, and the
// program's own kernel does the rest, handler, restart or EINTR. So does one whose thread was
// killed.
//
// A stack that dies of a new build goes on from a snapshot, and with it the programs' sockets. But
// what a program sent or received since then has happened for the program and not for the stack, so
// a connection that it used since is reset; the others go on. Calls that the stack had received and
// not answered are made again.
//
// All of it runs on the stack's one thread: a fiber that follows what happens to sockets in the
// stack (mirror()), one that follows what happens on the host and keeps house, one that tells it the
// time (keep_time()), and those of the threads. deliver(), and what watch_end() has called, run between fibers.
#pragma once

#include <linux/seccomp.h>

#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/exec/limits.hpp"
#include "toolkit/exec/memory_watch.hpp"
#include "toolkit/exec/notifications.hpp"
#include "toolkit/exec/process.hpp"
#include "toolkit/exec/socket.hpp"

namespace lkm::exec {

class Thread;

/// When a call was seen, and how.
struct Arrival {
  StackTime seen{};    ///< StackTime{}: long ago
  bool ahead = false;  ///< perhaps of the news that its program has closed something before it
};

/// One `lkm-run exec`: a program and all that it starts.
struct Session : std::enable_shared_from_this<Session> {
  Notifications notifications;
  StackFd netns;       ///< the namespace itself: its name may go
  std::shared_ptr<Account> account;
  bool ended = false;  ///< no process is left

  Session(Notifications of, StackFd where, std::shared_ptr<Account> whose)
      : notifications(std::move(of)), netns(std::move(where)), account(std::move(whose)) {}
};

class Programs {
 public:
  /// On a fiber. Errors: as of epoll_create1(2), and of starting fibers.
  static Result<std::unique_ptr<Programs>> start(Stack& stack, std::filesystem::path netns_folder);
  ~Programs();

  /// Serves the calls that arrive at a listener, in that netns ("" is the first one).
  /// Errors: no such netns.
  Result<void> attach(UniqueFd listener, const std::string& netns, const Limits& limits);
  /// Programs with processes that run.
  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }

  // -- for Thread ---------------------------------------------------------------------------------
  [[nodiscard]] Stack& stack() const { return stack_; }
  /// By the inode of its program's end. nullptr: no socket of the stack.
  [[nodiscard]] std::shared_ptr<Socket> find(std::uint64_t inode) const;
  /// A socket from a descriptor of the stack, and its program's end.
  Result<std::pair<std::shared_ptr<Socket>, UniqueFd>> adopt(StackFd fd, Use use, bool nonblocking,
                                                             const std::shared_ptr<Account>& account);
  /// The netns that a file of netns_folder() stands for; nothing: it is none of those.
  [[nodiscard]] std::optional<std::string> netns_of(std::uint64_t inode) const;
  /// Where files with the names of all netns are, for `ip netns` (its /run/netns).
  [[nodiscard]] const std::filesystem::path& netns_folder() const { return netns_folder_; }
  /// Makes those files what the stack has now.
  void name_netns() const;
  /// The name in netns_folder() that a path of a program means, if it means one there.
  [[nodiscard]] std::optional<std::string> name_in_netns_folder(const std::filesystem::path& path) const;
  /// Whether programs see /proc and /sys of their netns (views.hpp).
  void has_views(bool has) { has_views_ = has; }
  /// A process is in another netns from now on.
  void enters(Process& process, std::shared_ptr<StackFd> netns);
  void returns(Process& process);
  /// The task (NetSeat) that sees what a thread of the host should see; "": who sees it where its program was started, if
  /// it is one.
  [[nodiscard]] std::string seat_of_thread(pid_t tid) const;
  /// A socket has a ring now, or none any more: that is filled while there is one.
  void ring_made(const std::shared_ptr<Socket>& socket);
  /// Whether the buffers of a program's sockets may take more. `who` is the
  /// thread that asks, for the log.
  bool may_fill(Account& account, pid_t who);
  /// Bytes may have gone into them.
  void filled(Account& account, std::uint64_t bytes);
  [[nodiscard]] MemoryWatch& memory() { return memory_; }
  /// Makes the placeholder show what the socket has.
  void show(Socket& socket, int program_end);
  /// A socket of which each call is one of the stack may come to be under a number where they are
  /// not caught, here or in another process: from now on its descriptor carries messages.
  void begin_to_carry_messages(Socket& socket, int program_end);
  /// Sends what a program wrote to a socket that carries messages.
  void send_messages(Socket& socket);
  // A TCP socket is followed only once something can happen to it. Errors of these: as epoll_ctl(2), in the stack.

  /// It listens.
  Result<void> begin_to_listen(Socket& socket, int program_end);
  /// It is being connected, and the program does not wait for it.
  Result<void> begin_to_connect(Socket& socket, int program_end);
  /// It is connected: from now on its descriptor carries the data.
  Result<void> begin_to_carry(Socket& socket);
  /// Carries what a connection's program wrote.
  void flush(Socket& socket);
  /// Takes a call that has come meanwhile, as the stack would once it is idle.
  void look_for_call(Session& session);
  /// Sees to what is known to have happened on the host.
  void look_at_host();
  /// Sees to listening sockets that were closed, whether or not that is known.
  void forget_closed_listeners();
  /// A thread has begun, or ended, to work on a call.
  void begins(Thread& thread);
  /// A program makes a call on the socket.
  void count(Socket& socket);
  void ends(Thread& thread);

  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

 private:
  Programs(Stack& stack, std::filesystem::path netns_folder, StackFd readiness, SharedArray<std::uint32_t> tally)
      : stack_(stack),
        netns_folder_(std::move(netns_folder)),
        readiness_(std::move(readiness)),
        tally_(std::move(tally)),
        memory_(stack) {}

  void deliver(Session& session, unsigned events, bool ahead);
  Result<void> watch_end(int fd, unsigned events, std::uint64_t about);
  void unwatch(const Placeholder& placeholder);
  void keep_house();
  void admit_new_threads();
  [[nodiscard]] bool is_of_host(const seccomp_notif& call) const;
  void inherit_netns(Process& process);
  [[nodiscard]] const Process* forebear(pid_t pid) const;
  void bury_threads_of(pid_t pid);
  void keep_time();
  void begin_to_look();
  void look_after_calls();
  void look_after_rings();
  void mirror();
  void give(const std::shared_ptr<Session>& session, const seccomp_notif& call, Arrival arrival);
  void go_on_from_snapshot();
  void release(const Socket& socket);
  Result<void> follow(Socket& socket, unsigned events);
  void happened_in_stack(Socket& socket, unsigned events);
  void happened_on_host(Socket& socket, unsigned events);
  void settle(Socket& socket);
  void show_message(Socket& socket);
  void abort_connection(Socket& socket);
  void break_connection(Socket& socket);
  void forget_broken();
  void forget(const Socket& socket);
  [[nodiscard]] std::uint64_t memory_of(const Account& account) const;

  struct NewCall {
    std::shared_ptr<Session> session;
    seccomp_notif call;
    bool ahead;
  };
  /// What happened to a placeholder or a process.
  struct HostNews {
    std::uint64_t about;  ///< the inode of the one; kIsProcess and the pid of the other
    unsigned events;      ///< of epoll_ctl(2)
  };

  Stack& stack_;
  std::filesystem::path netns_folder_;
  StackFd readiness_;  // epoll set of the stack: the sockets, by the inodes of their placeholders
  SharedArray<std::uint32_t> tally_;  // calls of each socket, also of those made after a snapshot
  MemoryWatch memory_;
  std::size_t next_tally_ = 0;
  bool has_views_ = false;
  bool entered_ = false;  ///< by any process, another netns than where it was started
  bool resumed_ = false;
  std::vector<std::shared_ptr<Session>> sessions_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Socket>> sockets_;  // by inode
  std::vector<std::uint64_t> listening_;  // of these, those that were made to listen, by inode
  std::deque<std::uint64_t> broken_;  // of these, those whose end nothing tells
  std::vector<std::weak_ptr<Socket>> rings_;  // sockets with one
  StreamBuffers buffers_;
  std::unordered_map<pid_t, std::shared_ptr<Process>> processes_;
  std::unordered_map<pid_t, std::shared_ptr<Thread>> threads_;  // by tid
  std::vector<NewCall> new_calls_;                              // of threads that have no fiber yet
  std::deque<HostNews> host_news_;
  unsigned busy_ = 0;                                           // threads that work on a call
  bool looking_ = false;                                        // at calls and rings, each kLookEvery
  bool look_due_ = false;
  std::uint64_t calls_ = 0, calls_seen_ = 0;  // that have begun; at the last look
  bool stopping_ = false;
  Fiber house_, mirror_, time_;
};

}  // namespace lkm::exec
