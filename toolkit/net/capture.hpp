// SPDX-License-Identifier: GPL-2.0
//
// Capture: what passes a device of a node, both ways, as a pcap file (nanosecond time stamps; the first bytes of each
// packet, which hold its headers). An outgoing packet is seen when it leaves the queue. The kernel keeps packets until
// they are asked for: nobody waits for them, so no order of events is another one because of the capture. Only on fibers.
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
  explicit Capture(StackFd socket) : socket_(std::move(socket)) {}
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// Takes what came since the last time. EIO when the kernel had to drop packets for want of room: kRoom bytes.
  Result<void> drain();
  /// The file, with all that was taken.
  std::string take() { return std::move(file_); }

  static constexpr int kRoom = 64 << 20;

 private:
  StackFd socket_;
  std::string file_;
};

}  // namespace lkm::lab
