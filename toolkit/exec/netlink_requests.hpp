// SPDX-License-Identifier: GPL-2.0
//
// What the requests that a program sends by netlink are about, as far as memory goes.
#pragma once

#include <cstddef>
#include <span>

namespace lkm::exec {

/// Whether one of the messages (nlmsghdr and what follows, from a program: anything may be there) may
/// add something to the network: a link, a route, a rule. False for those that ask or take away.
/// `protocol` is the socket's: NETLINK_ROUTE and so on.
bool may_add(int protocol, std::span<const char> messages);

}  // namespace lkm::exec
