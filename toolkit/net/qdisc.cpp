// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/qdisc.hpp"

#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>

namespace lkm {
namespace {

// A kernel's structure out of an attribute; what an older kernel does not have is zero.
template <typename T>
T value_of(const nlattr* attribute) {
  T value{};
  std::memcpy(&value, mnl_attr_get_payload(attribute),
              std::min<std::size_t>(sizeof value, mnl_attr_get_payload_len(attribute)));
  return value;
}

std::uint32_t marks_of(const std::string& kind, const nlattr* app) {
  if (kind == "codel") return value_of<tc_codel_xstats>(app).ecn_mark + value_of<tc_codel_xstats>(app).ce_mark;
  if (kind == "pie") return value_of<tc_pie_xstats>(app).ecn_mark;
  if (kind == "red") return value_of<tc_red_xstats>(app).marked;
  if (kind == "fq_codel") {
    const auto stats = value_of<tc_fq_codel_xstats>(app);
    return stats.type == TCA_FQ_CODEL_XSTATS_QDISC ? stats.qdisc_stats.ecn_mark + stats.qdisc_stats.ce_mark : 0;
  }
  return 0;
}

struct Nested {
  QdiscStats& stats;
  const std::string& kind;
};

QdiscStats stats_of(const nlmsghdr* message) {
  QdiscStats stats;
  std::string kind;
  const nlattr* nest = nullptr;
  for_each_attribute(message, sizeof(tcmsg), [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == TCA_KIND) kind = mnl_attr_get_str(attribute);
    if (mnl_attr_get_type(attribute) == TCA_STATS2) nest = attribute;
  });
  if (nest == nullptr) return stats;
  const auto each = [](const nlattr* attribute, void* cookie) {
    auto& [into, of] = *static_cast<Nested*>(cookie);
    switch (mnl_attr_get_type(attribute)) {
      case TCA_STATS_BASIC: {
        const auto basic = value_of<gnet_stats_basic>(attribute);
        into.bytes = basic.bytes;
        into.packets = std::max<std::uint64_t>(into.packets, basic.packets);
        break;
      }
      case TCA_STATS_PKT64:
        into.packets = value_of<std::uint64_t>(attribute);
        break;
      case TCA_STATS_QUEUE: {
        const auto queue = value_of<gnet_stats_queue>(attribute);
        into.drops = queue.drops;
        into.backlog_bytes = queue.backlog;
        into.backlog_packets = queue.qlen;
        break;
      }
      case TCA_STATS_APP:
        into.marks = marks_of(of, attribute);
        break;
      default:
        break;
    }
    return MNL_CB_OK;
  };
  Nested nested{stats, kind};
  mnl_attr_parse_nested(nest, each, &nested);
  return stats;
}

}  // namespace

Result<Qdiscs> Qdiscs::open(Stack& stack, const std::string& netns) {
  LKM_TRY(Netlink netlink, Netlink::open(stack, netns, NETLINK_ROUTE));
  return Qdiscs(std::move(netlink));
}

Result<void> Qdiscs::put(const Place& place, std::uint16_t flags, const std::string& kind,
                         const std::function<void(nlmsghdr*)>& options, const char* doing) {
  NetlinkMessage message(RTM_NEWQDISC, flags);
  auto& info = message.extra<tcmsg>();
  info.tcm_family = AF_UNSPEC;
  info.tcm_ifindex = static_cast<int>(place.link);
  info.tcm_parent = place.parent;
  info.tcm_handle = place.handle;
  mnl_attr_put_strz(message.header(), TCA_KIND, kind.c_str());
  if (options) {
    nlattr* nest = mnl_attr_nest_start(message.header(), TCA_OPTIONS);
    options(message.header());
    mnl_attr_nest_end(message.header(), nest);
  }
  return netlink_.request(message, fmt::format("{} qdisc {}", doing, kind));
}

Result<void> Qdiscs::add(const Place& place, const std::string& kind,
                         const std::function<void(nlmsghdr*)>& options) {
  return put(place, NLM_F_CREATE | NLM_F_REPLACE, kind, options, "add");
}

Result<void> Qdiscs::change(const Place& place, const std::string& kind,
                            const std::function<void(nlmsghdr*)>& options) {
  return put(place, 0, kind, options, "change");
}

Result<QdiscStats> Qdiscs::stats(unsigned link, std::uint32_t handle) {
  QdiscStats stats;
  NetlinkMessage message(RTM_GETQDISC, NLM_F_ECHO);  // else the answer is for listeners of the group only
  auto& info = message.extra<tcmsg>();
  info.tcm_family = AF_UNSPEC;
  info.tcm_ifindex = static_cast<int>(link);
  info.tcm_handle = handle;
  LKM_CHECK(netlink_.request(message, "read qdisc", [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type == RTM_NEWQDISC) stats = stats_of(answer);
  }));
  return stats;
}

void put_tbf(nlmsghdr* message, std::uint64_t rate, std::uint32_t largest, std::uint32_t limit) {
  const std::uint64_t bytes_per_second = rate / 8;
  tc_tbf_qopt head{};
  head.rate.rate = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes_per_second, UINT32_MAX));
  head.limit = limit;
  mnl_attr_put(message, TCA_TBF_PARMS, sizeof head, &head);
  if (bytes_per_second > UINT32_MAX) mnl_attr_put_u64(message, TCA_TBF_RATE64, bytes_per_second);
  mnl_attr_put_u32(message, TCA_TBF_BURST, largest);
}

}  // namespace lkm
