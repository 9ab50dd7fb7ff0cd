// SPDX-License-Identifier: GPL-2.0
//
// Rtnl: network configuration of one netns of the stack over rtnetlink (rtnetlink(7); the attribute
// policies are in net/core/rtnetlink.c, net/sched/sch_netem.c and drivers/net/veth.c).
//
//   LKM_TRY(Rtnl net, Rtnl::open(stack, "client"));
//   LKM_CHECK(net.veth_add("eth0", {.peer_netns = "server", .peer = "eth0"}));
//   LKM_CHECK(net.addr_add("eth0", *IpPrefix::parse("10.0.0.1/24")));
//   LKM_CHECK(net.link_up("eth0"));
//   LKM_CHECK(net.qdisc_netem("eth0", {.delay = 10ms, .rate = 100'000'000}));
//
// Errors: the kernel's errno with what was tried and the kernel's own words.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/net/ip.hpp"
#include "toolkit/net/netlink.hpp"

namespace lkm {

/// Path emulation on the way out of a device; what is zero is not emulated.
struct Netem {
  std::chrono::nanoseconds delay{};   ///< added to every packet
  std::chrono::nanoseconds jitter{};  ///< the delay varies by so much in both directions
  double loss = 0;                    ///< share of packets dropped at random, 0 to 1
  double reorder = 0;                 ///< share of packets that skips the delay, 0 to 1
  std::uint64_t rate = 0;             ///< bit/s
  std::uint32_t limit = 1000;         ///< packets held, those under way in the delay included
};

using MacAddress = std::array<std::uint8_t, 6>;

struct VethOptions {
  std::string peer_netns;  ///< "" is the first netns
  std::string peer;        ///< name of the other end
  unsigned mtu = 1500;
  MacAddress mac{};       ///< all zero: a random one
  MacAddress peer_mac{};  ///< of the other end
  /// False: TCP sends packets of one segment, so that a qdisc drops, delays and counts packets of
  /// MTU size and not bursts of up to 64 KiB.
  bool segmentation_offload = true;
};

class Rtnl {
 public:
  static Result<Rtnl> open(Stack& stack, const std::string& netns);

  /// ENODEV when there is none.
  Result<unsigned> link_index(const std::string& link);
  Result<void> link_up(const std::string& link);
  Result<void> link_down(const std::string& link);
  /// Before it is up: no neighbour is asked for, and no group joined, so the kernel sends nothing over it of its own accord.
  Result<void> link_silent(const std::string& link);
  /// Deletes a link; with a veth its peer goes too.
  Result<void> link_del(const std::string& link);
  /// A veth pair, both ends down and without addresses.
  Result<void> veth_add(const std::string& link, const VethOptions& options);

  /// A macvlan device over `lower` that has all of its packets, and its address: a second qdisc before that of `lower`. Both
  /// are down. TCP sends packets of one segment over it.
  Result<void> macvlan_add(const std::string& link, const std::string& lower);

  /// v6 addresses skip duplicate address detection: usable at once.
  Result<void> addr_add(const std::string& link, const IpPrefix& address);
  /// Addresses of one link, or of all; those of scope link (fe80::) and host (loopback) left out.
  Result<std::vector<IpPrefix>> addresses(const std::string& link = "");

  /// A permanent neighbour: packets to `address` go to `mac` without asking.
  Result<void> neighbour_add(const std::string& link, const IpPrefix& address, const MacAddress& mac);
  /// A route to `to`, or the default route when it is empty.
  Result<void> route_add(const std::optional<IpPrefix>& to, const IpPrefix& gateway);

  /// Makes netem the root qdisc, in place of what was there. `behind`, if given, takes the packets
  /// that the first lets through. Its drops look to a local sender like those of a router further
  /// on, found by retransmission; those of the root are reported to the sender as congestion of its
  /// own device, and nothing is retransmitted.
  Result<void> qdisc_netem(const std::string& link, const Netem& netem,
                           const Netem* behind = nullptr);
  /// Makes a qdisc with its default options the root: "fq", "fq_codel", "pfifo"…
  Result<void> qdisc_set(const std::string& link, const std::string& kind);
  /// Back to the default qdisc.
  Result<void> qdisc_del(const std::string& link);

 private:
  Rtnl(Stack& stack, std::string netns, Netlink netlink)
      : stack_(&stack), netns_(std::move(netns)), netlink_(std::move(netlink)) {}
  [[nodiscard]] std::string place(const std::string& link) const;
  Result<void> link_flags(const std::string& link, unsigned flags, unsigned changed, const char* doing);
  Result<void> qdisc(const std::string& link, std::uint32_t parent, const std::string& kind,
                     const Netem* netem);

  Stack* stack_;
  std::string netns_;
  Netlink netlink_;
};

/// Adds the attributes of a netem qdisc (TCA_KIND, TCA_OPTIONS) to an RTM_NEWQDISC message.
void put_netem(nlmsghdr* message, const Netem& netem);
/// What is in its TCA_OPTIONS.
void put_netem_options(nlmsghdr* message, const Netem& netem);

}  // namespace lkm
