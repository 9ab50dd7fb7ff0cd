// SPDX-License-Identifier: GPL-2.0
//
// Relay: a connection under a number that the filter does not catch (inetd and its like move it onto standard input
// and output). There, data goes through an AF_UNIX pair of its own, by the host's read(2) and write(2), and two
// fibers carry it between that and the socket. Calls about the socket are still served by the stack; data calls
// under a number that is caught are passed to the pair.
//
// It ends when the program has closed its end everywhere, and all that was written is sent.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

struct Socket;

class Relay : public std::enable_shared_from_this<Relay> {
 public:
  /// Begins to relay, and gives the end for the program. On a fiber. Errors: as socketpair(2), and of fibers.
  static Result<std::pair<std::shared_ptr<Relay>, UniqueFd>> start(Stack& stack, std::shared_ptr<Socket> socket);

  /// st_ino of the program's end.
  [[nodiscard]] std::uint64_t inode() const { return inode_; }
  /// The stack's end, to be waited on for HUP by epoll.
  [[nodiscard]] int fd() const { return stack_end_.get(); }
  /// The program closed its end.
  void hang_up();

 private:
  Relay(Stack& stack, std::shared_ptr<Socket> socket, UniqueFd stack_end, std::uint64_t inode)
      : stack_(stack), socket_(std::move(socket)), stack_end_(std::move(stack_end)), inode_(inode) {}

  void carry_in();
  void carry_out();
  long wait_for(short events);

  Stack& stack_;
  std::shared_ptr<Socket> socket_;
  UniqueFd stack_end_;
  std::uint64_t inode_;
  bool hung_up_ = false;
  Fiber in_, out_;
};

}  // namespace lkm::exec
