// SPDX-License-Identifier: GPL-2.0
//
// Netlink inside the stack: one request, one answer. Messages are laid out by libmnl, which works
// on plain buffers; the socket is the stack's.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include "toolkit/base/result.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm {

/// One netlink message under construction. Attributes are added with mnl_attr_put_*(m.header(), …).
class NetlinkMessage {
 public:
  /// NLM_F_REQUEST is always set.
  explicit NetlinkMessage(std::uint16_t type, std::uint16_t flags = 0);
  NetlinkMessage(const NetlinkMessage&) = delete;  // attributes nest by address
  NetlinkMessage& operator=(const NetlinkMessage&) = delete;

  [[nodiscard]] nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }
  [[nodiscard]] const nlmsghdr* header() const {
    return reinterpret_cast<const nlmsghdr*>(buffer_.data());
  }
  /// Appends the family's fixed header (ifinfomsg, tcmsg, …), zeroed.
  template <typename T>
  T& extra() {
    return *static_cast<T*>(mnl_nlmsg_put_extra_header(header(), sizeof(T)));
  }

 private:
  alignas(MNL_ALIGNTO * 4) std::array<char, 4096> buffer_;
};

/// A netlink socket of one netns. Only on a fiber; one fiber at a time.
class Netlink {
 public:
  /// `family`: NETLINK_ROUTE and the like.
  static Result<Netlink> open(Stack& stack, const std::string& netns, int family);

  /// Sends the request and waits for its acknowledgement. Error: the kernel's errno, with
  /// `doing` ("add qdisc netem to 'veth0'") and the kernel's own words where it gave some.
  Result<void> request(NetlinkMessage& message, const std::string& doing) {
    return request(message, doing, [](const nlmsghdr*) {});
  }
  /// The same for a request that is answered with a message before it is acknowledged.
  Result<void> request(NetlinkMessage& message, const std::string& doing,
                       const std::function<void(const nlmsghdr*)>& answer);

  /// Sends a dump request and calls `each` for every message of the answer.
  Result<void> dump(NetlinkMessage& message, const std::string& doing,
                    const std::function<void(const nlmsghdr*)>& each);

 private:
  explicit Netlink(StackFd socket) : socket_(std::move(socket)) {}
  Result<void> send(NetlinkMessage& message, std::uint16_t flags, const std::string& doing);
  Result<void> receive(const std::string& doing, const std::function<void(const nlmsghdr*)>& each);

  StackFd socket_;
  std::uint32_t sequence_ = 0;
};

/// Calls `each(const nlattr*)` for the attributes that follow a fixed header of `offset` bytes.
template <typename Each>
void for_each_attribute(const nlmsghdr* message, std::size_t offset, Each each) {
  const auto call = [](const nlattr* attribute, void* data) {
    (*static_cast<Each*>(data))(attribute);
    return MNL_CB_OK;
  };
  mnl_attr_parse(message, static_cast<unsigned>(offset), call, &each);
}

/// The kernel's words in an NLMSG_ERROR message (NLMSGERR_ATTR_MSG), or "".
std::string netlink_extack(const nlmsghdr* message);

}  // namespace lkm
