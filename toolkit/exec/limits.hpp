// SPDX-License-Identifier: GPL-2.0
//
// Limits: how much of a stack a program may have, with all that it starts.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"

namespace lkm::exec {

/// What a datagram may take in a buffer, besides its bytes (SKB_TRUESIZE() of a small one, twice).
inline constexpr std::uint64_t kPerDatagram = 2048;

struct Limits {
  std::uint64_t sockets = 16384;
  std::uint64_t memory = 32 << 20;  ///< bytes in the buffers of its sockets
  std::uint64_t calls = 1024;       ///< threads that the stack answers, each by a task

  /// `text` as in "sockets=100,memory=16MiB,calls=64"; what it does not name stays as it is in `usual`.
  /// Errors: EINVAL that says what is wrong.
  static Result<Limits> parse(std::string_view text, const Limits& usual);
  [[nodiscard]] std::string text() const;
  /// Errors: EDQUOT when one of them is above that of `most`.
  [[nodiscard]] Result<void> within(const Limits& most) const;
};

/// What one `lkm-run exec` has of a stack. Its sockets keep it when they outlive it in another program's hands.
class Account {
 public:
  Account(Stack& stack, const Limits& limits) : stack_(stack), limits_(limits) {}

  std::uint64_t sockets = 0;
  std::uint64_t threads = 0;
  std::uint64_t rings = 0;  ///< bytes of packet rings

  [[nodiscard]] const Limits& limits() const { return limits_; }
  /// Whether there may be one more. If not, the log is told, once a second at most. `who` is the
  /// thread that asks.
  bool may_have_socket(pid_t who);
  bool may_have_thread(pid_t who);
  /// Whether its buffers may take more. `measure` gives the bytes in them; it is called only when what was sent since it
  /// was last called may have filled them.
  template <typename Measure>
  bool may_fill(pid_t who, Measure measure) {
    if (memory_ < limits_.memory) return true;
    memory_ = measure();
    return memory_ < limits_.memory || refuse(kMemory, who);
  }
  /// Bytes may have gone into buffers.
  void filled(std::uint64_t bytes) { memory_ += bytes; }

 private:
  enum What { kSockets, kMemory, kCalls };
  bool refuse(What what, pid_t who);

  Stack& stack_;
  Limits limits_;
  std::uint64_t memory_ = 0;  // no less than there is
  std::array<StackTime, 3> told_{};
};

}  // namespace lkm::exec
