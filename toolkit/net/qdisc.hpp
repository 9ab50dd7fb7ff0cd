// SPDX-License-Identifier: GPL-2.0
//
// Queue disciplines of one netns: made, changed and counted over rtnetlink. Handles and parents are those of tc(8):
// `handle(1)` is "1:", `class_of(1, 1)` is "1:1".
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "toolkit/net/netlink.hpp"

namespace lkm {

constexpr std::uint32_t handle(std::uint32_t major) { return major << 16; }
constexpr std::uint32_t class_of(std::uint32_t major, std::uint32_t minor) { return major << 16 | minor; }

/// What a qdisc has counted since it was made, and what waits in it.
struct QdiscStats {
  std::uint64_t bytes = 0;    ///< let through
  std::uint64_t packets = 0;
  std::uint32_t drops = 0;
  std::uint32_t marks = 0;          ///< packets marked for ECN: codel, fq_codel, pie, red
  std::uint32_t backlog_bytes = 0;
  std::uint32_t backlog_packets = 0;
};

class Qdiscs {
 public:
  static Result<Qdiscs> open(Stack& stack, const std::string& netns);

  struct Place {
    unsigned link = 0;  ///< index of the device
    std::uint32_t parent = 0;
    std::uint32_t handle = 0;
  };
  /// Puts a qdisc of that kind there, in the place of what was there. `options` adds the attributes of its
  /// TCA_OPTIONS. Errors: ENOENT when the kernel has no such kind; what the kernel says.
  Result<void> add(const Place& place, const std::string& kind, const std::function<void(nlmsghdr*)>& options);
  /// Changes the options of the qdisc there.
  Result<void> change(const Place& place, const std::string& kind, const std::function<void(nlmsghdr*)>& options);
  Result<QdiscStats> stats(unsigned link, std::uint32_t handle);

 private:
  explicit Qdiscs(Netlink netlink) : netlink_(std::move(netlink)) {}
  Result<void> put(const Place& place, std::uint16_t flags, const std::string& kind,
                   const std::function<void(nlmsghdr*)>& options, const char* doing);
  Netlink netlink_;
};

/// Adds the options of a token bucket that lets `rate` bit/s through, one packet of `largest` bytes at a time. `limit`
/// is that of the FIFO in it, in its own unit: the kernel gives it to whatever FIFO is there.
void put_tbf(nlmsghdr* message, std::uint64_t rate, std::uint32_t largest, std::uint32_t limit);

}  // namespace lkm
