// SPDX-License-Identifier: GPL-2.0
//
// Capture: what passes a device of a node, both ways, as a pcap file (nanosecond time stamps; the first bytes of each
// packet, which hold its headers). An outgoing packet is seen when it leaves the queue. Only on fibers.
#pragma once

#include <memory>
#include <string>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::lab {

class Capture {
 public:
  /// Begins at once. Errors: as socket(2), bind(2).
  static Result<std::unique_ptr<Capture>> start(Stack& stack, const std::string& node, unsigned link);
  Capture(Stack& stack, StackFd socket) : stack_(stack), socket_(std::move(socket)) {}
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() { (void)stop(); }

  /// Ends it: the whole file. Error: EIO when the kernel had to drop packets for want of room.
  Result<std::string> stop();

 private:
  void receive();

  Stack& stack_;
  StackFd socket_;
  Fiber fiber_;
  std::string file_;
  bool ending_ = false;
};

}  // namespace lkm::lab
