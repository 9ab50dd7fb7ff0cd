// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/rtnl.hpp"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lkm {
namespace {

constexpr std::uint32_t kRootHandle = 1U << 16;  // "1:" of tc(8)

Result<void> check_name(const std::string& link) {
  if (link.empty() || link.size() >= IFNAMSIZ)
    return fail(EINVAL, "link name '{}' (1 to {} characters)", link, IFNAMSIZ - 1);
  return {};
}

Result<void> check(const Netem& netem) {
  if (netem.delay.count() < 0 || netem.jitter.count() < 0)
    return fail(EINVAL, "netem delay and jitter must not be negative");
  for (const double share : {netem.loss, netem.reorder}) {
    if (!(share >= 0 && share <= 1)) return fail(EINVAL, "netem share {} is not between 0 and 1", share);
  }
  if (netem.rate > 0 && netem.rate < 8)
    return fail(EINVAL, "netem rate {} bit/s is below one byte per second", netem.rate);
  if (netem.limit == 0) return fail(EINVAL, "netem limit must be at least one packet");
  return {};
}

void put_link_attributes(nlmsghdr* message, const std::string& name, const MacAddress& mac,
                         const VethOptions& options) {
  mnl_attr_put_strz(message, IFLA_IFNAME, name.c_str());
  if (mac != MacAddress{}) mnl_attr_put(message, IFLA_ADDRESS, mac.size(), mac.data());
  mnl_attr_put_u32(message, IFLA_MTU, options.mtu);
  if (!options.segmentation_offload) mnl_attr_put_u32(message, IFLA_GSO_MAX_SEGS, 1);
}

void put_address(nlmsghdr* message, std::uint16_t attribute, const IpPrefix& address) {
  mnl_attr_put(message, attribute, address.size(), address.bytes.data());
}

// The link's own address of an RTM_NEWADDR. On a point-to-point link it is in IFA_LOCAL, and
// IFA_ADDRESS is the peer's; v6 has only IFA_ADDRESS on any other link.
IpPrefix local_address(const nlmsghdr* message) {
  const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(message));
  IpPrefix address;
  address.family = static_cast<IpFamily>(info->ifa_family);
  address.length = info->ifa_prefixlen;
  bool local = false;
  for_each_attribute(message, sizeof *info, [&](const nlattr* attribute) {
    const std::uint16_t type = mnl_attr_get_type(attribute);
    if (type != IFA_LOCAL && (type != IFA_ADDRESS || local)) return;
    if (mnl_attr_get_payload_len(attribute) < address.size()) return;
    std::memcpy(address.bytes.data(), mnl_attr_get_payload(attribute), address.size());
    local = type == IFA_LOCAL;
  });
  return address;
}

}  // namespace

void put_netem(nlmsghdr* message, const Netem& netem) {
  mnl_attr_put_strz(message, TCA_KIND, "netem");
  nlattr* options = mnl_attr_nest_start(message, TCA_OPTIONS);
  put_netem_options(message, netem);
  mnl_attr_nest_end(message, options);
}

void put_netem_options(nlmsghdr* message, const Netem& netem) {
  // struct tc_netem_qopt comes first, as plain bytes; its latency and jitter are in scheduler ticks
  // of 64 ns, so the 64-bit attributes below carry them instead.
  tc_netem_qopt head{};
  head.limit = netem.limit;
  head.loss = static_cast<std::uint32_t>(std::llround(netem.loss * UINT32_MAX));
  head.gap = netem.reorder > 0 ? 1 : 0;  // every packet may be one that is reordered
  std::memcpy(mnl_nlmsg_get_payload_tail(message), &head, sizeof head);
  message->nlmsg_len += MNL_ALIGN(sizeof head);
  if (netem.delay.count() > 0)
    mnl_attr_put_u64(message, TCA_NETEM_LATENCY64, static_cast<std::uint64_t>(netem.delay.count()));
  if (netem.jitter.count() > 0)
    mnl_attr_put_u64(message, TCA_NETEM_JITTER64, static_cast<std::uint64_t>(netem.jitter.count()));
  if (netem.reorder > 0) {
    const tc_netem_reorder reorder{
        .probability = static_cast<std::uint32_t>(std::llround(netem.reorder * UINT32_MAX)), .correlation = 0};
    mnl_attr_put(message, TCA_NETEM_REORDER, sizeof reorder, &reorder);
  }
  if (netem.rate > 0) {
    const std::uint64_t bytes_per_second = netem.rate / 8;
    tc_netem_rate rate{};
    rate.rate = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes_per_second, UINT32_MAX));
    mnl_attr_put(message, TCA_NETEM_RATE, sizeof rate, &rate);
    if (bytes_per_second > UINT32_MAX)
      mnl_attr_put_u64(message, TCA_NETEM_RATE64, bytes_per_second);
  }
}

Result<Rtnl> Rtnl::open(Stack& stack, const std::string& netns) {
  LKM_TRY(Netlink netlink, Netlink::open(stack, netns, NETLINK_ROUTE));
  return Rtnl(stack, netns, std::move(netlink));
}

std::string Rtnl::place(const std::string& link) const {
  return netns_.empty() ? fmt::format("'{}'", link)
                        : fmt::format("'{}' in netns '{}'", link, netns_);
}

Result<unsigned> Rtnl::link_index(const std::string& link) {
  LKM_CHECK(check_name(link));
  unsigned index = 0;
  NetlinkMessage message(RTM_GETLINK);
  message.extra<ifinfomsg>();
  mnl_attr_put_strz(message.header(), IFLA_IFNAME, link.c_str());
  // A plain GET answers with the link and, as an acknowledgement was asked for, an error of 0.
  LKM_CHECK(netlink_.request(
      message, fmt::format("find link {}", place(link)), [&](const nlmsghdr* answer) {
        const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(answer));
        index = static_cast<unsigned>(info->ifi_index);
      }));
  return index;
}

Result<void> Rtnl::link_flags(const std::string& link, unsigned flags, unsigned changed, const char* doing) {
  LKM_TRY(const unsigned index, link_index(link));
  NetlinkMessage message(RTM_NEWLINK);
  auto& info = message.extra<ifinfomsg>();
  info.ifi_index = static_cast<int>(index);
  info.ifi_flags = flags;
  info.ifi_change = changed;
  return netlink_.request(message, fmt::format("{} link {}", doing, place(link)));
}

Result<void> Rtnl::link_up(const std::string& link) { return link_flags(link, IFF_UP, IFF_UP, "set up"); }

Result<void> Rtnl::link_down(const std::string& link) { return link_flags(link, 0, IFF_UP, "set down"); }

Result<void> Rtnl::link_silent(const std::string& link) {
  return link_flags(link, IFF_NOARP, IFF_NOARP | IFF_MULTICAST, "silence");
}

Result<void> Rtnl::link_del(const std::string& link) {
  LKM_TRY(const unsigned index, link_index(link));
  NetlinkMessage message(RTM_DELLINK);
  message.extra<ifinfomsg>().ifi_index = static_cast<int>(index);
  return netlink_.request(message, fmt::format("delete link {}", place(link)));
}

Result<void> Rtnl::veth_add(const std::string& link, const VethOptions& options) {
  LKM_CHECK(check_name(link));
  LKM_CHECK(check_name(options.peer));
  LKM_TRY(const int fd, stack_->netns_fd(options.peer_netns));
  const StackFd peer_netns(*stack_, fd);
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.extra<ifinfomsg>();
  nlmsghdr* header = message.header();
  put_link_attributes(header, link, options.mac, options);
  nlattr* info = mnl_attr_nest_start(header, IFLA_LINKINFO);
  mnl_attr_put_strz(header, IFLA_INFO_KIND, "veth");
  nlattr* data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
  nlattr* peer = mnl_attr_nest_start(header, VETH_INFO_PEER);
  message.extra<ifinfomsg>();
  put_link_attributes(header, options.peer, options.peer_mac, options);
  mnl_attr_put_u32(header, IFLA_NET_NS_FD, static_cast<std::uint32_t>(peer_netns.get()));
  mnl_attr_nest_end(header, peer);
  mnl_attr_nest_end(header, data);
  mnl_attr_nest_end(header, info);
  return netlink_.request(message, fmt::format("add veth {} with peer '{}' in netns '{}'",
                                               place(link), options.peer, options.peer_netns));
}

Result<void> Rtnl::macvlan_add(const std::string& link, const std::string& lower) {
  LKM_CHECK(check_name(link));
  LKM_TRY(const unsigned index, link_index(lower));
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.extra<ifinfomsg>();
  nlmsghdr* header = message.header();
  mnl_attr_put_strz(header, IFLA_IFNAME, link.c_str());
  mnl_attr_put_u32(header, IFLA_LINK, index);
  mnl_attr_put_u32(header, IFLA_GSO_MAX_SEGS, 1);
  nlattr* info = mnl_attr_nest_start(header, IFLA_LINKINFO);
  mnl_attr_put_strz(header, IFLA_INFO_KIND, "macvlan");
  nlattr* data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
  mnl_attr_put_u32(header, IFLA_MACVLAN_MODE, MACVLAN_MODE_PASSTHRU);
  mnl_attr_nest_end(header, data);
  mnl_attr_nest_end(header, info);
  return netlink_.request(message, fmt::format("add macvlan {} over '{}'", place(link), lower));
}

Result<void> Rtnl::addr_add(const std::string& link, const IpPrefix& address) {
  LKM_TRY(const unsigned index, link_index(link));
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  auto& info = message.extra<ifaddrmsg>();
  info.ifa_family = static_cast<std::uint8_t>(address.family);
  info.ifa_prefixlen = address.length;
  info.ifa_index = index;
  if (address.family == IpFamily::kV6) info.ifa_flags = IFA_F_NODAD;
  put_address(message.header(), IFA_LOCAL, address);
  put_address(message.header(), IFA_ADDRESS, address);
  return netlink_.request(message, fmt::format("add address {} to {}", address.str(), place(link)));
}

Result<std::vector<IpPrefix>> Rtnl::addresses(const std::string& link) {
  unsigned wanted = 0;
  if (!link.empty()) {
    LKM_TRY(wanted, link_index(link));
  }
  std::vector<IpPrefix> found;
  NetlinkMessage message(RTM_GETADDR);
  message.extra<ifaddrmsg>();
  const auto each = [&](const nlmsghdr* answer) {
    const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(answer));
    const bool known = info->ifa_family == AF_INET || info->ifa_family == AF_INET6;
    if (!known || info->ifa_scope >= RT_SCOPE_LINK) return;
    if (wanted != 0 && info->ifa_index != wanted) return;
    found.push_back(local_address(answer));
  };
  LKM_CHECK(netlink_.dump(message, fmt::format("list addresses of netns '{}'", netns_), each));
  return found;
}

Result<void> Rtnl::neighbour_add(const std::string& link, const IpPrefix& address, const MacAddress& mac) {
  LKM_TRY(const unsigned index, link_index(link));
  NetlinkMessage message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  auto& info = message.extra<ndmsg>();
  info.ndm_family = static_cast<std::uint8_t>(address.family);
  info.ndm_ifindex = static_cast<int>(index);
  info.ndm_state = NUD_PERMANENT;
  put_address(message.header(), NDA_DST, address);
  mnl_attr_put(message.header(), NDA_LLADDR, mac.size(), mac.data());
  return netlink_.request(message, fmt::format("add neighbour {} to {}", address.address(), place(link)));
}

Result<void> Rtnl::route_add(const std::optional<IpPrefix>& to, const IpPrefix& gateway) {
  const std::string target = to ? to->str() : "default";
  if (to && to->family != gateway.family)
    return fail(EINVAL, "route {} via {}: one is IPv4, the other IPv6", target, gateway.address());
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  auto& info = message.extra<rtmsg>();
  info.rtm_family = static_cast<std::uint8_t>(gateway.family);
  info.rtm_table = RT_TABLE_MAIN;
  info.rtm_protocol = RTPROT_STATIC;
  info.rtm_scope = RT_SCOPE_UNIVERSE;
  info.rtm_type = RTN_UNICAST;
  if (to) {
    info.rtm_dst_len = to->length;
    put_address(message.header(), RTA_DST, *to);
  }
  put_address(message.header(), RTA_GATEWAY, gateway);
  return netlink_.request(
      message, fmt::format("add route {} via {} in netns '{}'", target, gateway.address(), netns_));
}

Result<void> Rtnl::qdisc(const std::string& link, std::uint32_t parent, const std::string& kind,
                         const Netem* netem) {
  LKM_TRY(const unsigned index, link_index(link));
  NetlinkMessage message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
  auto& info = message.extra<tcmsg>();
  info.tcm_family = AF_UNSPEC;
  info.tcm_ifindex = static_cast<int>(index);
  info.tcm_parent = parent;
  if (parent == TC_H_ROOT && netem != nullptr) info.tcm_handle = kRootHandle;
  if (netem != nullptr)
    put_netem(message.header(), *netem);
  else
    mnl_attr_put_strz(message.header(), TCA_KIND, kind.c_str());
  return netlink_.request(message, fmt::format("set qdisc {} on {}", kind, place(link)));
}

Result<void> Rtnl::qdisc_netem(const std::string& link, const Netem& netem, const Netem* behind) {
  LKM_CHECK(check(netem));
  if (behind != nullptr) LKM_CHECK(check(*behind));
  LKM_CHECK(qdisc(link, TC_H_ROOT, "netem", &netem));
  if (behind == nullptr) return {};
  return qdisc(link, kRootHandle | 1, "netem", behind);  // netem's only class
}

Result<void> Rtnl::qdisc_set(const std::string& link, const std::string& kind) {
  return qdisc(link, TC_H_ROOT, kind, nullptr);
}

Result<void> Rtnl::qdisc_del(const std::string& link) {
  LKM_TRY(const unsigned index, link_index(link));
  NetlinkMessage message(RTM_DELQDISC);
  auto& info = message.extra<tcmsg>();
  info.tcm_ifindex = static_cast<int>(index);
  info.tcm_parent = TC_H_ROOT;
  return netlink_.request(message, fmt::format("delete the qdisc of {}", place(link)));
}

}  // namespace lkm
