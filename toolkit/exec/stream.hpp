// SPDX-License-Identifier: GPL-2.0
//
// Stream: carries the bytes of a TCP connection of the stack to and from the AF_UNIX pair that its
// program holds.
//
// So the program's reads and writes are the host kernel's, without a round trip to the stack, under
// any number, in any process that got the descriptor. The pair's buffers are one more hop of the
// connection: a program that does not read fills its pair, then the receive buffer of the
// connection, and the window closes; one that writes is held up the same way.
//
// Out, bytes go from the pair into the connection's own buffers by one copy: the stack's
// copy_from_user() is recv(2) on the pair. Few bytes pass a buffer, which saves asking how many there are.
// In, they pass one as well, as only send(2) tells how much room the pair has.
//
// What is called may wait for the connection's lock, and others run meanwhile: who comes second
// leaves word for who is at work.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

/// Buffers that streams use for the time of one call.
class StreamBuffers {
 public:
  static constexpr std::size_t kSize = std::size_t{128} << 10;  // bytes
  using Buffer = std::unique_ptr<char[]>;

  Buffer take();
  void put_back(Buffer buffer) { unused_.push_back(std::move(buffer)); }

 private:
  std::vector<Buffer> unused_;
};

class Stream {
 public:
  /// Of a connection of the stack, and the stack's end of the pair. Both must outlive it.
  Stream(Stack& stack, StreamBuffers& buffers, const StackFd& connection, int pair)
      : stack_(stack), buffers_(buffers), connection_(connection), pair_(pair) {}

  /// From the network to the program, until there is nothing, or no room: then wants_room(). On a
  /// fiber.
  void carry_in();
  /// The connection has urgent data (POLLPRI): one byte, which the program will find at its place
  /// in the stream. To be called before carry_in().
  void take_urgent();
  /// From the program to the network, until there is nothing, or the connection takes no more: it
  /// will have POLLOUT. On a fiber.
  void carry_out();
  /// The program writes no more; the connection is told once all is carried.
  void no_more_out() { pair_ended_ = true; }
  /// Nor does it read; what is to become of the connection then is its owner's affair.
  void closed() { pair_ended_ = closed_ = true; }

  /// Whether bytes for the program wait for the pair to have room (POLLOUT).
  [[nodiscard]] bool wants_room() const { return !unplaced_.empty(); }
  /// Whether the connection took no more when bytes were last carried out.
  [[nodiscard]] bool held_up() const { return held_up_; }
  /// Whether something that the program wrote is still in the pair.
  [[nodiscard]] bool has_unsent() const;
  /// Whether all that the program wrote is in the connection, and there will be no more.
  [[nodiscard]] bool all_out() const { return out_ended_; }
  /// Whether the program was told of the end, or reads no more.
  [[nodiscard]] bool all_in() const { return in_ended_; }
  /// The connection's error, once it has one and all that had come is with the program; else 0.
  [[nodiscard]] int error() const { return wants_room() ? 0 : error_; }
  /// The same, to be told to the program once (SO_ERROR).
  int take_error() { return std::exchange(error_, 0); }

  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

 private:
  void carry_in_once();
  void carry_out_once();
  /// What a step of it came to: bytes of the pair that the connection took, or -errno.
  struct Sent {
    long bytes;
    bool all;  ///< that was there
  };
  Sent send_from_pair();
  Sent send_few();
  bool place(std::span<const char> bytes);
  void place_urgent();

  Stack& stack_;
  StreamBuffers& buffers_;
  const StackFd& connection_;
  int pair_;
  std::vector<char> unplaced_;  // taken from the connection, not yet in the pair
  std::vector<char> unsent_;    // taken from the pair, not yet in the connection
  bool few_ = true;             // bytes were in the pair when it was last looked at
  std::optional<char> urgent_;
  int error_ = 0;
  bool held_up_ = false;
  bool in_ended_ = false, out_ended_ = false;
  bool pair_ended_ = false, closed_ = false;
  bool in_busy_ = false, in_again_ = false;
  bool out_busy_ = false, out_again_ = false;
};

}  // namespace lkm::exec
