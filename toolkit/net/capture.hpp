// SPDX-License-Identifier: GPL-2.0
//
// Capture: what passes a device of the stack, both ways, as a pcap file with time stamps in nanoseconds. An outgoing
// packet is seen when it leaves the queue. The kernel keeps packets until they are asked for: nobody waits for them, so no
// order of events is another one because of the capture. Only on fibers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {

class Capture {
 public:
  /// Of the device with that index in the netns; `snap` bytes of each packet are kept. The kernel may hold `room` bytes
  /// of packets that nobody has asked for; of more it drops. Begins at once.
  /// Errors: as socket(2), bind(2).
  static Result<std::unique_ptr<Capture>> start(Stack& stack, const std::string& netns, unsigned link,
                                                std::size_t snap, int room);
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// Takes what came since the last time, `most` packets of it.
  Result<void> drain(std::uint64_t most = UINT64_MAX);
  /// Sleeps until there is something. EINTR when the fiber is interrupted, ENETDOWN when the device went down.
  Result<void> wait();
  /// The part of the file that was taken since the last time; the first one begins with its header.
  std::string take() { return std::exchange(file_, {}); }
  /// Packets so far.
  [[nodiscard]] std::uint64_t packets() const { return packets_; }
  /// Besides these, packets that the kernel dropped for want of room.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  Capture(StackFd socket, std::size_t snap) : socket_(std::move(socket)), frame_(snap) {}

  StackFd socket_;
  std::vector<char> frame_;
  std::string file_;
  std::uint64_t packets_ = 0, dropped_ = 0;
};

}  // namespace lkm
