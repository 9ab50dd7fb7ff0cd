// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/gate.hpp"

#include <linux/pkt_sched.h>

#include <algorithm>
#include <cstring>

namespace lkm::lab {
namespace {

constexpr std::uint32_t kThrough = 1, kTrigger = 2;  // classes of prio
constexpr std::uint32_t kTriggerHandle = 0xfff;

template <typename T>
void put_structure(nlmsghdr* message, const T& value) {
  std::memcpy(mnl_nlmsg_get_payload_tail(message), &value, sizeof value);
  message->nlmsg_len += MNL_ALIGN(sizeof value);
}

/// A bucket with tokens for so many packets, and a byte a second.
void put_bucket(nlmsghdr* message, const Gate::Place& place, std::uint32_t packets) {
  tc_tbf_qopt head{};
  head.rate.rate = 1;
  head.rate.mpu = std::uint16_t(place.packet);
  head.limit = place.queue_limit;
  mnl_attr_put(message, TCA_TBF_PARMS, sizeof head, &head);
  mnl_attr_put_u32(message, TCA_TBF_BURST, packets * place.packet);
}

}  // namespace

Result<std::uint32_t> Gate::make_root(Qdiscs& qdiscs, const Place& place) {
  tc_prio_qopt bands{};  // all priorities go to the first band
  bands.bands = 2;
  LKM_CHECK(qdiscs.add({place.link, TC_H_ROOT, handle(place.root)}, "prio",
                       [&](nlmsghdr* message) { put_structure(message, bands); }));
  LKM_CHECK(qdiscs.add({place.link, class_of(place.root, kTrigger), handle(kTriggerHandle)}, "plug", {}));
  return class_of(place.root, kThrough);
}

Result<void> Gate::make_bucket(Qdiscs& qdiscs, const Place& place, std::uint32_t parent) {
  return qdiscs.add({place.link, parent, handle(place.bucket)}, "tbf",
                    [&](nlmsghdr* message) { put_bucket(message, place, 1); });
}

Result<void> Gate::open(std::uint64_t packets) {
  LKM_TRY(const QdiscStats waiting, qdiscs_.stats(place_.link, handle(place_.queue)));
  if (waiting.backlog_packets == 0 || waiting.backlog_bytes == 0) return {};
  const std::uint64_t fit = packets * place_.packet * waiting.backlog_packets / waiting.backlog_bytes;
  const auto go = std::uint32_t(std::min<std::uint64_t>(std::max(fit, packets), waiting.backlog_packets));
  LKM_CHECK(qdiscs_.change({place_.link, 0, handle(place_.bucket)}, "tbf",
                           [&](nlmsghdr* message) { put_bucket(message, place_, go); }));
  tc_plug_qopt release{};
  release.action = TCQ_PLUG_RELEASE_INDEFINITE;
  return qdiscs_.change({place_.link, 0, handle(kTriggerHandle)}, "plug",
                        [&](nlmsghdr* message) { put_structure(message, release); });
}

}  // namespace lkm::lab
