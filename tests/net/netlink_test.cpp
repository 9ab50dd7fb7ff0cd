// SPDX-License-Identifier: GPL-2.0
//
// The bytes of netlink messages, without a kernel.
#include "toolkit/net/netlink.hpp"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <map>
#include <vector>

#include "toolkit/net/rtnl.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

using Attributes = std::map<std::uint16_t, std::vector<std::uint8_t>>;

Attributes attributes(const void* data, std::size_t length) {
  Attributes found;
  for (const auto* at = static_cast<const nlattr*>(data);
       mnl_attr_ok(at, static_cast<int>(length));) {
    const auto* payload = static_cast<const std::uint8_t*>(mnl_attr_get_payload(at));
    found[mnl_attr_get_type(at)].assign(payload, payload + mnl_attr_get_payload_len(at));
    length -= MNL_ALIGN(at->nla_len);
    at = mnl_attr_next(at);
  }
  return found;
}

template <typename T>
T as(const std::vector<std::uint8_t>& bytes) {
  T value{};
  EXPECT_EQ(bytes.size(), sizeof value);
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
  return value;
}

// TCA_OPTIONS of netem: struct tc_netem_qopt, then attributes.
std::pair<tc_netem_qopt, Attributes> netem_options(const Netem& netem) {
  NetlinkMessage message(RTM_NEWQDISC);
  message.extra<tcmsg>();
  put_netem(message.header(), netem);
  const auto* body = static_cast<const char*>(mnl_nlmsg_get_payload(message.header()));
  const std::size_t length = mnl_nlmsg_get_payload_len(message.header());
  Attributes outer = attributes(body + sizeof(tcmsg), length - sizeof(tcmsg));
  const auto& kind = outer[TCA_KIND];
  EXPECT_STREQ(reinterpret_cast<const char*>(kind.data()), "netem");
  const auto& options = outer[TCA_OPTIONS];
  tc_netem_qopt head{};
  EXPECT_GE(options.size(), sizeof head);
  std::memcpy(&head, options.data(), sizeof head);
  return {head, attributes(options.data() + sizeof head, options.size() - sizeof head)};
}

TEST(NetemMessage, CarriesWhatIsEmulated) {
  auto [head, options] = netem_options(
      {.delay = 10ms, .jitter = 1ms, .loss = 0.25, .rate = 100'000'000, .limit = 321});
  EXPECT_EQ(head.limit, 321u);
  EXPECT_NEAR(head.loss, 0.25 * UINT32_MAX, 1);
  EXPECT_EQ(head.latency, 0u);
  EXPECT_EQ(as<std::int64_t>(options.at(TCA_NETEM_LATENCY64)), 10'000'000);
  EXPECT_EQ(as<std::int64_t>(options.at(TCA_NETEM_JITTER64)), 1'000'000);
  EXPECT_EQ(as<tc_netem_rate>(options.at(TCA_NETEM_RATE)).rate, 12'500'000u);
  EXPECT_FALSE(options.contains(TCA_NETEM_RATE64));
}

TEST(NetemMessage, LeavesOutWhatIsNotEmulated) {
  auto [head, options] = netem_options({.limit = 7});
  EXPECT_EQ(head.limit, 7u);
  EXPECT_EQ(head.loss, 0u);
  EXPECT_TRUE(options.empty());
}

TEST(NetemMessage, CarriesARateThatNeeds64Bits) {
  auto [head, options] = netem_options({.rate = 80'000'000'000});
  EXPECT_EQ(as<tc_netem_rate>(options.at(TCA_NETEM_RATE)).rate, UINT32_MAX);
  EXPECT_EQ(as<std::uint64_t>(options.at(TCA_NETEM_RATE64)), 10'000'000'000u);
}

// What the kernel sends for a refused request, with the request's copy or without.
std::string extack_of(std::uint16_t flags, std::uint32_t request_payload, const char* words) {
  NetlinkMessage message(NLMSG_ERROR);
  nlmsghdr* header = message.header();
  header->nlmsg_flags = flags;
  auto& error = message.extra<nlmsgerr>();
  error.error = -EINVAL;
  error.msg.nlmsg_len = NLMSG_HDRLEN + request_payload;
  if (!(flags & NLM_F_CAPPED)) header->nlmsg_len += MNL_ALIGN(request_payload);
  if (words != nullptr) mnl_attr_put_strz(header, NLMSGERR_ATTR_MSG, words);
  return netlink_extack(header);
}

TEST(Netlink, FindsTheKernelsWordsInAnError) {
  EXPECT_EQ(extack_of(NLM_F_ACK_TLVS | NLM_F_CAPPED, 100, "No such qdisc"), "No such qdisc");
  EXPECT_EQ(extack_of(NLM_F_ACK_TLVS, 20, "No such qdisc"), "No such qdisc");
  EXPECT_EQ(extack_of(NLM_F_CAPPED, 0, "not attributes"), "");
  EXPECT_EQ(extack_of(NLM_F_ACK_TLVS | NLM_F_CAPPED, 0, nullptr), "");
}

}  // namespace
}  // namespace lkm
