// SPDX-License-Identifier: GPL-2.0
//
// MessageCarrier: carries messages between a socket of the stack and the AF_UNIX pair that its
// program holds, for a socket that may be under a number whose reads and writes are not caught
// (filter.hpp): moved by dup2(2), passed on by SCM_RIGHTS.
//
// In, the pair holds a copy of the first message that the socket has. Once the program has read
// that, the socket's is thrown away, and the next one is copied. A call that is caught, also one of
// another process that shares the socket, takes the copy back first. So both find the same queue,
// and what a read does not tell (addresses, control messages) is there for who asks.
//
// Out, messages are sent as they come. The write has ended by then: an error is that of SO_ERROR.
//
// A pair of SOCK_SEQPACKET keeps the bounds of messages; one of SOCK_STREAM does not, and is for
// protocols whose sockets do not promise it.
//
// As the calls of another fiber may come between those of one that waits for the socket's lock,
// one at a time works on a carrier.
#pragma once

#include <cstddef>
#include <utility>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/exec/limits.hpp"
#include "toolkit/exec/stream.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

/// SOCK_STREAM and the like.
int type_of(const StackFd& socket);

class MessageCarrier {
 public:
  /// Of a socket of the stack, and the stack's end of the pair. Both must outlive it.
  MessageCarrier(Stack& stack, StreamBuffers& buffers, const StackFd& socket, int pair);

  /// Keeps a copy of the first message in the pair. On a fiber, when no caught call takes messages.
  void carry_in();
  /// Sends what the program wrote, until there is nothing, or the socket takes no more: it will have
  /// POLLOUT. On a fiber. If its program may have no more memory, they are lost, which ENOBUFS tells.
  void carry_out(bool may_send);
  /// Bytes that were sent since this was last called.
  std::size_t take_sent() { return std::exchange(sent_, 0); }
  /// Copies that were put into the pair since this was last called.
  unsigned take_copies() { return std::exchange(copies_, 0); }
  /// Before a caught call takes messages: the socket has what the program has not read, and the
  /// pair nothing. On a fiber.
  void take_back(int program_end);
  /// Whether all that the program wrote was sent when last looked at.
  [[nodiscard]] bool all_out() const { return all_out_; }
  /// What a read or write met, to be told to the program once (SO_ERROR); else 0.
  int take_error() { return std::exchange(error_, 0); }
  /// Another process has used the pair meanwhile, and knew a socket that is not this one.
  void look_again();

  MessageCarrier(const MessageCarrier&) = delete;
  MessageCarrier& operator=(const MessageCarrier&) = delete;

 private:
  enum class Copy { kNone, kOfFirst, kOfNone };

  void copy_next();
  void end();
  void send_all(bool may_send);
  void settle_copy(std::size_t unread);
  [[nodiscard]] bool in_pair() const;
  void lock();

  Stack& stack_;
  StreamBuffers& buffers_;
  const StackFd& socket_;
  int pair_;
  bool keeps_bounds_ = true;  ///< the pair does
  bool may_end_ = false;      ///< the socket may have another end, which closes
  Copy copy_ = Copy::kNone;
  std::size_t copied_ = 0;  ///< bytes
  unsigned copies_ = 0;
  std::size_t sent_ = 0;
  int error_ = 0;
  bool ended_ = false;
  bool all_out_ = true;
  bool busy_ = false;
  bool in_again_ = false, out_again_ = false;
  bool may_send_ = true;  ///< for who is at work
};

}  // namespace lkm::exec
