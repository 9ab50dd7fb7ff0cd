// SPDX-License-Identifier: GPL-2.0
//
// Links: emulated wires between named netns of a stack.
//
// A link is a veth pair with a path emulated on each end, so both directions have the same rate,
// delay, loss and queue: one netem for delay and loss, and behind it another for the rate and the
// queue in front of it, which drops like a router's. Link number n is the device "link<n>" on both
// sides, with the addresses
//   10.77.(n / 64).(n % 64 * 4) / 30   ends .1 and .2     (RFC 1918)
//   fd6c:6b6d:0:n::/64                 ends ::1 and ::2   (RFC 4193)
// so every address is unique in the stack and tells its link.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/net/ip.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm {

struct LinkSpec {
  std::string a;                      ///< netns of the one end; made when it does not exist
  std::string b;                      ///< netns of the other end
  std::uint64_t rate = 0;             ///< bit/s in each direction, 0 for no limit
  std::chrono::nanoseconds delay{};   ///< one way
  std::chrono::nanoseconds jitter{};  ///< the delay varies by so much in both directions
  double loss = 0;                    ///< share of packets lost in each direction
  /// Packets that may wait for the rate; those on their way do not count. 0: the product of rate
  /// and round-trip time, and at least 64. Not without a rate.
  std::uint32_t queue = 0;
  unsigned mtu = 1500;
};

struct Link {
  unsigned id = 0;
  LinkSpec spec;
  std::string device;       ///< the same name on both ends
  std::uint32_t queue = 0;  ///< packets that may wait for the rate; 0 without a rate
  IpPrefix a_v4, b_v4, a_v6, b_v6;
};

/// How many packets may wait for the rate, by the spec or by default.
std::uint32_t queue_of(const LinkSpec& spec);

/// The links of one stack. Only on fibers; several may call at the same time.
class Links {
 public:
  explicit Links(Stack& stack) : stack_(stack) {}

  /// Makes the namespaces that are missing, the pair, its addresses and its emulation. Undone as a
  /// whole on an error.
  Result<Link> add(const LinkSpec& spec);
  /// Deletes both ends; the namespaces stay. ENOENT when there is no such link.
  Result<void> remove(unsigned id);
  [[nodiscard]] std::vector<Link> list() const;

 private:
  Result<void> configure(const Link& link);
  Stack& stack_;
  std::map<unsigned, Link> links_;
};

}  // namespace lkm
