// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/netlink_requests.hpp"

#include <linux/genetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>

#include <algorithm>
#include <cstring>

namespace lkm::exec {
namespace {

/// Kinds of its messages come in fours: NEW, DEL, GET, SET (linux/rtnetlink.h).
bool adds_route(unsigned type) {
  const unsigned kind = (type - RTM_BASE) % 4;
  return kind == 0 || kind == 3;
}

bool adds_filter(unsigned type, unsigned flags) {
  if (type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END) return false;
  if (NFNL_SUBSYS_ID(type) != NFNL_SUBSYS_NFTABLES) return (flags & (NLM_F_CREATE | NLM_F_REPLACE)) != 0;
  switch (NFNL_MSG_TYPE(type)) {
    case NFT_MSG_NEWTABLE:
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_NEWRULE:
    case NFT_MSG_NEWSET:
    case NFT_MSG_NEWSETELEM:
    case NFT_MSG_NEWOBJ:
    case NFT_MSG_NEWFLOWTABLE:
      return true;
    default:
      return false;
  }
}

bool adds_transformation(unsigned type) {
  switch (type) {
    case XFRM_MSG_DELSA:
    case XFRM_MSG_GETSA:
    case XFRM_MSG_DELPOLICY:
    case XFRM_MSG_GETPOLICY:
    case XFRM_MSG_FLUSHSA:
    case XFRM_MSG_FLUSHPOLICY:
    case XFRM_MSG_GETSADINFO:
    case XFRM_MSG_GETSPDINFO:
      return false;
    default:
      return true;
  }
}

bool adds(int protocol, const nlmsghdr& message) {
  const unsigned type = message.nlmsg_type;
  if (type < NLMSG_MIN_TYPE) return false;
  switch (protocol) {
    case NETLINK_ROUTE:
      return adds_route(type);
    case NETLINK_NETFILTER:
      return adds_filter(type, message.nlmsg_flags);
    case NETLINK_XFRM:
      return adds_transformation(type);
    case NETLINK_SOCK_DIAG:
      return false;
    case NETLINK_GENERIC:
      return type != GENL_ID_CTRL;  // what the others do, only they know
    default:
      return true;
  }
}

}  // namespace

bool may_add(int protocol, std::span<const char> messages) {
  nlmsghdr one{};
  while (messages.size() >= sizeof one) {
    std::memcpy(&one, messages.data(), sizeof one);
    if (one.nlmsg_len < sizeof one || one.nlmsg_len > messages.size()) return false;  // the kernel ends here, too
    if (adds(protocol, one)) return true;
    messages = messages.subspan(std::min<std::size_t>(NLMSG_ALIGN(one.nlmsg_len), messages.size()));
  }
  return false;
}

}  // namespace lkm::exec
