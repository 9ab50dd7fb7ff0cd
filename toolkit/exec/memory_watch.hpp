// SPDX-License-Identifier: GPL-2.0
//
// MemoryWatch: whether the stack has memory left for what a program asks of it. A kernel without any
// dies ("System is deadlocked on memory"), as it has no process of its own that it could kill.
//
// What is kept for the network's own needs is asked for first, so a program that makes a million
// routes meets its end while the sockets of others have room.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "libos-runtime/host/stack.hpp"

namespace lkm::exec {

class MemoryWatch {
 public:
  explicit MemoryWatch(Stack& stack) : stack_(stack) {}

  // `who` is the thread that asks, for the log.

  /// Whether something may be added to the network, by a request of so many bytes. If not, the log is
  /// told, once a second at most. On a fiber, as all of these.
  bool has_for_network(pid_t who, std::uint64_t request);
  /// Whether there may be another socket.
  bool has_for_socket(pid_t who);
  /// Whether sockets' buffers may take more. Both look once in a MiB of sockets and of what was sent.
  bool has_for_buffers(pid_t who);
  /// Bytes may have gone into buffers.
  void filled(std::uint64_t bytes) { unseen_ += bytes; }

 private:
  bool has_for_sockets(pid_t who, const char* what);
  bool leaves(pid_t who, std::uint64_t parts, std::uint64_t request, const char* what);

  Stack& stack_;
  std::uint64_t unseen_ = 0;
  bool short_ = false;
  StackTime told_{};
};

}  // namespace lkm::exec
