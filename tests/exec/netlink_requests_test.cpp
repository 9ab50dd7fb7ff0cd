// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/netlink_requests.hpp"

#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <initializer_list>
#include <string>

namespace lkm::exec {
namespace {

/// Messages of these types, each with 5 bytes.
std::string messages(std::initializer_list<unsigned> types) {
  std::string all;
  for (const unsigned type : types) {
    nlmsghdr header{};
    header.nlmsg_len = NLMSG_LENGTH(5);
    header.nlmsg_type = std::uint16_t(type);
    all.append(reinterpret_cast<const char*>(&header), sizeof header).append(NLMSG_ALIGN(5), 'x');
  }
  return all;
}
constexpr unsigned nft(unsigned type) { return NFNL_SUBSYS_NFTABLES << 8 | type; }

TEST(NetlinkRequests, ThatAddAreToldFromThoseThatAskOrTakeAway) {
  EXPECT_TRUE(may_add(NETLINK_ROUTE, messages({RTM_NEWROUTE})));
  EXPECT_TRUE(may_add(NETLINK_ROUTE, messages({RTM_NEWLINK})));
  EXPECT_TRUE(may_add(NETLINK_ROUTE, messages({RTM_NEWQDISC})));
  EXPECT_TRUE(may_add(NETLINK_ROUTE, messages({RTM_SETLINK})));
  EXPECT_FALSE(may_add(NETLINK_ROUTE, messages({RTM_GETROUTE, RTM_DELROUTE, RTM_DELLINK, NLMSG_DONE})));
  EXPECT_TRUE(may_add(NETLINK_NETFILTER, messages({NFNL_MSG_BATCH_BEGIN, nft(NFT_MSG_NEWRULE), NFNL_MSG_BATCH_END})));
  EXPECT_FALSE(may_add(NETLINK_NETFILTER, messages({NFNL_MSG_BATCH_BEGIN, nft(NFT_MSG_DELTABLE), NFNL_MSG_BATCH_END})));
  EXPECT_TRUE(may_add(NETLINK_GENERIC, messages({GENL_ID_CTRL + 1})));
  EXPECT_FALSE(may_add(NETLINK_GENERIC, messages({GENL_ID_CTRL})));
  EXPECT_FALSE(may_add(NETLINK_SOCK_DIAG, messages({20})));
}

TEST(NetlinkRequests, AreLookedAtOneByOne) {
  EXPECT_TRUE(may_add(NETLINK_ROUTE, messages({RTM_GETROUTE, RTM_DELROUTE, RTM_NEWROUTE})));
}

TEST(NetlinkRequests, MayBeAnything) {
  EXPECT_FALSE(may_add(NETLINK_ROUTE, {}));
  const std::string whole = messages({RTM_GETROUTE, RTM_NEWROUTE});
  for (std::size_t size = 0; size < whole.size() - 3; ++size) EXPECT_FALSE(may_add(NETLINK_ROUTE, {whole.data(), size}));
  std::string wrong = messages({RTM_NEWROUTE});
  for (const unsigned length : {0U, 15U, 1000U, ~0U}) {
    wrong.replace(0, sizeof length, reinterpret_cast<const char*>(&length), sizeof length);
    EXPECT_FALSE(may_add(NETLINK_ROUTE, wrong));
  }
}

}  // namespace
}  // namespace lkm::exec
