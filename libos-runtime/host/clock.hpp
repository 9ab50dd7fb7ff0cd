// SPDX-License-Identifier: GPL-2.0
//
// StackClock: the time that a stack sees. Real: CLOCK_MONOTONIC since boot. Virtual: stands still, and is
// moved to the next clock event by the idle loop.
#pragma once

#include <cstdint>

#include "libos-runtime/host/stack.hpp"

namespace lkm {

/// CLOCK_MONOTONIC of the host, in nanoseconds.
std::uint64_t host_ns();

class StackClock {
 public:
  explicit StackClock(Clock kind) : kind_(kind), base_(host_ns()) {}

  [[nodiscard]] bool is_virtual() const { return kind_ == Clock::kVirtual; }
  /// Nanoseconds of stack time.
  [[nodiscard]] std::uint64_t now() const {
    return kind_ == Clock::kVirtual ? virtual_now_ : host_ns() - base_;
  }
  /// Virtual time only: moves it forward; an earlier time is ignored.
  void advance_to(std::uint64_t ns) {
    if (ns > virtual_now_) virtual_now_ = ns;
  }
  /// Nanoseconds since 1970. Virtual time begins at a fixed date, so that a run depends on no calendar.
  [[nodiscard]] std::uint64_t wall() const;

 private:
  Clock kind_;
  std::uint64_t base_;
  // Boot takes no virtual time, and not at 0: to TCP (tcp_clean_rtx_queue()) and to the random generator
  // (random_init()) a time of 0 is none.
  std::uint64_t virtual_now_ = 1'000'000;
};

}  // namespace lkm
