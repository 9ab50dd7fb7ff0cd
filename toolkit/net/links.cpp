// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/links.hpp"

#include <algorithm>
#include <cmath>

#include "toolkit/base/defer.hpp"

namespace lkm {
namespace {

constexpr unsigned kMaxLinks = 256 * 64;      // what 10.77.0.0/16 holds in /30s
constexpr std::uint32_t kSmallestQueue = 64;  // packets
constexpr std::uint32_t kUnlimited = 1
                                     << 20;  // packets; without a rate there is nothing to wait for

IpPrefix v4(unsigned id, unsigned end) {
  IpPrefix address{IpFamily::kV4, {}, 30};
  address.bytes = {10, 77, static_cast<std::uint8_t>(id / 64),
                   static_cast<std::uint8_t>(id % 64 * 4 + end)};
  return address;
}

IpPrefix v6(unsigned id, unsigned end) {
  IpPrefix address{IpFamily::kV6, {}, 64};
  address.bytes = {0xfd,
                   0x6c,
                   0x6b,
                   0x6d,
                   0,
                   0,
                   static_cast<std::uint8_t>(id >> 8),
                   static_cast<std::uint8_t>(id)};
  address.bytes[15] = static_cast<std::uint8_t>(end);
  return address;
}

Result<void> check(const LinkSpec& spec) {
  if (spec.a == spec.b) return fail(EINVAL, "link from netns '{}' to itself", spec.a);
  if (spec.mtu < 1280 || spec.mtu > 65535)
    return fail(EINVAL, "link mtu {} is not between 1280 (IPv6's least) and 65535", spec.mtu);
  if (spec.queue != 0 && spec.rate == 0)
    return fail(EINVAL, "a link's queue of {} packets needs a rate to wait for", spec.queue);
  return {};
}

}  // namespace

std::uint32_t queue_of(const LinkSpec& spec) {
  if (spec.rate == 0 || spec.queue != 0) return spec.queue;
  const double round_trip = static_cast<double>(spec.rate) / (8.0 * spec.mtu) *
                            std::chrono::duration<double>(2 * spec.delay).count();
  return static_cast<std::uint32_t>(
      std::clamp(std::ceil(round_trip), double{kSmallestQueue}, double{kUnlimited}));
}

Result<void> Links::configure(const Link& link) {
  const LinkSpec& spec = link.spec;
  const Netem path{
      .delay = spec.delay, .jitter = spec.jitter, .loss = spec.loss, .limit = kUnlimited};
  const Netem bottleneck{.rate = spec.rate, .limit = link.queue};
  const bool emulate =
      spec.delay.count() > 0 || spec.jitter.count() > 0 || spec.loss > 0 || spec.rate > 0;
  const auto end = [&](const std::string& netns, const IpPrefix& v4_address,
                       const IpPrefix& v6_address) -> Result<void> {
    LKM_TRY(Rtnl net, Rtnl::open(stack_, netns));
    LKM_CHECK(net.addr_add(link.device, v4_address));
    LKM_CHECK(net.addr_add(link.device, v6_address));
    if (emulate)
      LKM_CHECK(net.qdisc_netem(link.device, path, spec.rate > 0 ? &bottleneck : nullptr));
    return net.link_up(link.device);
  };
  LKM_CHECK(end(link.spec.a, link.a_v4, link.a_v6));
  return end(link.spec.b, link.b_v4, link.b_v6);
}

Result<Link> Links::add(const LinkSpec& spec) {
  LKM_CHECK(check(spec));
  unsigned id = 0;
  while (links_.contains(id)) ++id;
  if (id >= kMaxLinks) return fail(ENOSPC, "link number {} (there can be {})", id, kMaxLinks);
  const Link link{.id = id,
                  .spec = spec,
                  .device = fmt::format("link{}", id),
                  .queue = queue_of(spec),
                  .a_v4 = v4(id, 1),
                  .b_v4 = v4(id, 2),
                  .a_v6 = v6(id, 1),
                  .b_v6 = v6(id, 2)};
  links_.emplace(id, link);  // taken from now on: other fibers may run before the link is whole
  auto forget = defer([&] { links_.erase(id); });

  std::vector<std::string> made;
  auto unmake = defer([&] {
    for (const std::string& netns : made) (void)stack_.netns_del(netns);
  });
  for (const std::string& netns : {spec.a, spec.b}) {
    if (netns.empty() || std::ranges::count(stack_.netns_list(), netns) > 0) continue;
    LKM_CHECK(stack_.netns_add(netns));
    made.push_back(netns);
  }
  LKM_TRY(Rtnl net, Rtnl::open(stack_, spec.a));
  // Rate, queue and loss mean packets: see VethOptions.
  const bool offload = spec.rate == 0 && spec.loss == 0;
  LKM_CHECK(net.veth_add(link.device, {.peer_netns = spec.b,
                                       .peer = link.device,
                                       .mtu = spec.mtu,
                                       .segmentation_offload = offload}));
  auto disconnect = defer([&] { (void)net.link_del(link.device); });
  LKM_CHECK(configure(link));
  disconnect.cancel();
  unmake.cancel();
  forget.cancel();
  return link;
}

Result<void> Links::remove(unsigned id) {
  const auto found = links_.find(id);
  if (found == links_.end()) return fail(ENOENT, "link {}", id);
  const Link link = found->second;
  LKM_TRY(Rtnl net, Rtnl::open(stack_, link.spec.a));
  LKM_CHECK(net.link_del(link.device));
  links_.erase(id);  // by number: another fiber may have changed the map meanwhile
  return {};
}

std::vector<Link> Links::list() const {
  std::vector<Link> all;
  for (const auto& [id, link] : links_) all.push_back(link);
  return all;
}

}  // namespace lkm
