// SPDX-License-Identifier: GPL-2.0
//
// Placeholder: what a program holds in place of a socket of the stack.
//
// It is one end of an AF_UNIX pair; the stack has the other. So it is a real descriptor of
// the host, a socket by fstat(2), and poll, select, epoll, dup, fork, exec, close and SCM_RIGHTS
// are the host kernel's affair. A TCP connection's carries its data (stream.hpp), and so does that
// of another socket once a copy of it may be where its calls are not caught (message_carrier.hpp);
// from then on none of what follows is done to it. Any other carries none, and its readiness is
// made to be the socket's:
//
//   IN      a byte from the stack's end lies in it
//   OUT     its send buffer is not filled. To fill it, the stack needs the program's end, and to
//   take the byte
//           back too; it borrows that for each call that the program makes on it (pidfd_getfd(2)),
//           and only in a call can a socket cease to be readable or writable
//   RDHUP   the stack's end was shut down for sending
//   HUP     and for receiving
//
// An edge that epoll's EPOLLET must tell, though the level stays (more data came), is another byte.
// ERR shows as IN and OUT, which makes a program look; PRI is not shown.
//
// When the last copy of the program's end is closed, in whatever process, the kernel hangs up the
// stack's end. Once the stack shut down its end itself, that is told by ECONNRESET, for the byte
// that was never read.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <utility>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::exec {

class Placeholder {
 public:
  Placeholder() = default;
  /// Whether it will carry data one day, so that its buffers must be large.
  enum class Buffers { kSmall, kLarge };
  /// The second is the program's end, to be given to it. It is writable, and not readable. `type`
  /// is SOCK_STREAM, or SOCK_SEQPACKET where messages are to keep their bounds should it carry some.
  /// Errors: as socketpair(2).
  static Result<std::pair<Placeholder, UniqueFd>> make(Buffers buffers = Buffers::kSmall,
                                                       bool nonblocking = false,
                                                       int type = SOCK_STREAM);

  /// The stack's end, to be waited on for HUP and ERR by epoll.
  [[nodiscard]] int fd() const { return stack_end_.get(); }
  /// st_ino of the program's end, by which a descriptor is known to be it.
  [[nodiscard]] std::uint64_t inode() const { return inode_; }

  /// Shows poll(2) bits of the socket, as far as that can be done without the program's end: what
  /// is new.
  void raise(unsigned events);
  /// Shows exactly these. RDHUP and HUP stay once they are there.
  void show(unsigned events, int program_end);
  /// The same, for one with large buffers that shows no input: it can carry data now.
  void begin_to_carry();
  /// The same for any.
  void begin_to_carry(int program_end);
  /// Ends the pair. What is in it for the program stays; if what the program wrote lies there
  /// unread, a read ends with ECONNRESET then.
  void end() { stack_end_.reset(); }
  /// Tells once more that there is input.
  void raise_edge();
  [[nodiscard]] bool hung_up() const { return (shown_ & kHangUp) != 0; }

  /// Another process has changed the ends meanwhile: looks at what they show.
  void look_again();
  /// What poll(2) says of fd().
  [[nodiscard]] unsigned events() const;
  /// Whether the program's end is closed, asked now.
  [[nodiscard]] bool closed() const;
  /// Whether the program's end is closed, when epoll reported these events of fd().
  [[nodiscard]] bool closed(unsigned epoll_events) const;

 private:
  static constexpr unsigned kHangUp = 0x10;  // POLLHUP

  Placeholder(UniqueFd stack_end, std::uint64_t inode, std::size_t filling)
      : stack_end_(std::move(stack_end)), inode_(inode), filling_(filling) {}
  void take_filling();
  void take_marks(int program_end);

  UniqueFd stack_end_;
  std::uint64_t inode_ = 0;
  std::size_t filling_ = 0;  // bytes that leave no room for output
  unsigned shown_ = 0x4;     // POLLOUT
  unsigned marks_ = 0;       // bytes that tell of input, at most
};

}  // namespace lkm::exec
