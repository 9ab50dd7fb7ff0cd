// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/clock.hpp"

#include <ctime>

namespace lkm {
namespace {

std::uint64_t read(clockid_t clock) {
  timespec ts;
  ::clock_gettime(clock, &ts);
  return std::uint64_t(ts.tv_sec) * 1'000'000'000 + std::uint64_t(ts.tv_nsec);
}

}  // namespace

std::uint64_t host_ns() { return read(CLOCK_MONOTONIC); }

std::uint64_t StackClock::wall() const {
  constexpr std::uint64_t kVirtualEpoch = 1'700'000'000ull * 1'000'000'000;
  return is_virtual() ? kVirtualEpoch : read(CLOCK_REALTIME);
}

}  // namespace lkm
