// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/netlink.hpp"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <vector>

namespace lkm {
namespace {

constexpr std::size_t kReceiveBuffer = 64 << 10;  // the kernel fills at most 32 KiB per datagram

Result<void> acknowledge(const nlmsghdr* message, const std::string& doing) {
  const auto* answer = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  if (answer->error == 0) return {};
  const std::string words = netlink_extack(message);
  return words.empty() ? fail(-answer->error, "{}", doing)
                       : fail(-answer->error, "{} (kernel: {})", doing, words);
}

}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr* out = mnl_nlmsg_put_header(buffer_.data());
  out->nlmsg_type = type;
  out->nlmsg_flags = NLM_F_REQUEST | flags;
}

std::string netlink_extack(const nlmsghdr* message) {
  if (message->nlmsg_type != NLMSG_ERROR || !(message->nlmsg_flags & NLM_F_ACK_TLVS)) return {};
  const auto* answer = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  std::size_t offset = sizeof(nlmsgerr);
  // Unless capped, the request's payload comes back in front of the attributes.
  if (!(message->nlmsg_flags & NLM_F_CAPPED)) offset += mnl_nlmsg_get_payload_len(&answer->msg);
  std::string words;
  for_each_attribute(message, offset, [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG) words = mnl_attr_get_str(attribute);
  });
  return words;
}

Result<Netlink> Netlink::open(Stack& stack, const std::string& netns, int family) {
  LKM_TRY(StackFd socket, socket_in(stack, netns, AF_NETLINK, SOCK_RAW, family));
  // Text in errors, and answers without a copy of the request: both are there since Linux 4.12.
  socket.set_option(SOL_NETLINK, NETLINK_EXT_ACK, int{1});
  socket.set_option(SOL_NETLINK, NETLINK_CAP_ACK, int{1});
  return Netlink(std::move(socket));
}

Result<void> Netlink::send(NetlinkMessage& message, std::uint16_t flags, const std::string& doing) {
  nlmsghdr* header = message.header();
  header->nlmsg_flags = static_cast<std::uint16_t>(header->nlmsg_flags | flags);
  header->nlmsg_seq = ++sequence_;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const long sent = socket_.call(SYS_sendto, header, header->nlmsg_len, 0, &kernel, sizeof kernel);
  if (sent < 0) return fail(static_cast<int>(-sent), "{}", doing);
  return {};
}

Result<void> Netlink::receive(const std::string& doing,
                              const std::function<void(const nlmsghdr*)>& each) {
  std::vector<char> buffer(kReceiveBuffer);
  for (;;) {
    const long got =
        socket_.call(SYS_recvfrom, buffer.data(), buffer.size(), MSG_TRUNC, nullptr, nullptr);
    if (got < 0) return fail(static_cast<int>(-got), "{}: answer", doing);
    if (static_cast<std::size_t>(got) > buffer.size()) return fail(EMSGSIZE, "{}: answer", doing);
    int left = static_cast<int>(got);
    for (auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
         mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;  // the rest of an earlier, given-up request
      if (message->nlmsg_type == NLMSG_ERROR) return acknowledge(message, doing);
      if (message->nlmsg_type == NLMSG_DONE) return {};
      each(message);
    }
  }
}

Result<void> Netlink::request(NetlinkMessage& message, const std::string& doing,
                              const std::function<void(const nlmsghdr*)>& answer) {
  LKM_CHECK(send(message, NLM_F_ACK, doing));
  return receive(doing, answer);
}

Result<void> Netlink::dump(NetlinkMessage& message, const std::string& doing,
                           const std::function<void(const nlmsghdr*)>& each) {
  LKM_CHECK(send(message, NLM_F_DUMP, doing));
  return receive(doing, each);
}

}  // namespace lkm
