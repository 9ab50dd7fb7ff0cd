// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/packet_wire.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "libos-runtime/host/frames.hpp"

namespace lkm {
namespace {

/// Of each direction; without CAP_NET_ADMIN the host may grant less.
constexpr int kBuffer = 4 << 20;

constexpr std::size_t kTagAt = 2 * ETH_ALEN;  ///< where a VLAN tag goes in a frame
constexpr std::size_t kTagLength = 4;

/// The host takes a VLAN tag out of a frame (skb_vlan_untag() in net/core/skbuff.c): puts it back. The frame has room.
void put_tag_back(const tpacket_auxdata& about, libos_frame_meta& meta, std::byte* frame, std::size_t length) {
  const bool type_known = (about.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
  const std::uint16_t tag[] = {htons(type_known ? about.tp_vlan_tpid : ETH_P_8021Q), htons(about.tp_vlan_tci)};
  std::memmove(frame + kTagAt + kTagLength, frame + kTagAt, length - kTagAt);
  std::memcpy(frame + kTagAt, tag, kTagLength);
  if (meta.flags != 0) meta.csum_start = std::uint16_t(meta.csum_start + kTagLength);
  if (meta.hdr_len != 0) meta.hdr_len = std::uint16_t(meta.hdr_len + kTagLength);
}

Failure refused(int error, const std::string& interface) {
  if (error == EPERM)
    return fail_hint(error, "it takes CAP_NET_RAW: run as root, or in a user and network namespace of your own",
                     "interface '{}'", interface);
  return fail_hint(error, "ip -br link", "interface '{}'", interface);
}

}  // namespace

Result<std::unique_ptr<PacketWire>> PacketWire::open(const std::string& interface) {
  ifreq request{};
  if (interface.empty() || interface.size() >= IFNAMSIZ) return refused(EINVAL, interface);
  std::memcpy(request.ifr_name, interface.data(), interface.size());
  // Of no protocol yet: nothing is received until it is bound.
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd || ::ioctl(fd.get(), SIOCGIFINDEX, &request) < 0) return refused(errno, interface);
  const int index = request.ifr_ifindex;
  if (::ioctl(fd.get(), SIOCGIFHWADDR, &request) < 0) return refused(errno, interface);
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) return refused(EMEDIUMTYPE, interface);

  const auto set = [&](int level, int option, const auto& value) {
    return ::setsockopt(fd.get(), level, option, &value, sizeof(value)) == 0;
  };
  packet_mreq every{};  // the stack's device has another address than the interface
  every.mr_ifindex = index;
  every.mr_type = PACKET_MR_PROMISC;
  if (!set(SOL_PACKET, PACKET_VNET_HDR, 1) || !set(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1) ||
      !set(SOL_PACKET, PACKET_AUXDATA, 1) || !set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, every))
    return refused(errno, interface);
  (void)(set(SOL_SOCKET, SO_RCVBUFFORCE, kBuffer) || set(SOL_SOCKET, SO_RCVBUF, kBuffer));
  (void)(set(SOL_SOCKET, SO_SNDBUFFORCE, kBuffer) || set(SOL_SOCKET, SO_SNDBUF, kBuffer));

  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = index;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
    return refused(errno, interface);
  return std::unique_ptr<PacketWire>(new PacketWire(std::move(fd), interface, index));
}

bool PacketWire::exists() const {
  ifreq request{};
  request.ifr_ifindex = index_;
  return ::ioctl(fd_.get(), SIOCGIFNAME, &request) == 0;
}

int PacketWire::send(const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  return send_frame(fd_.get(), meta, frame);
}

long PacketWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(tpacket_auxdata))];
  auto pieces = scatter(meta, frame.first(frame.size() - kTagLength));
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  long length = 0;
  do {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    length = read_frame([&] { return ::recvmsg(fd_.get(), &message, MSG_DONTWAIT); });
    // The interface went down: it may come up again, unless it is gone.
    if (length == -ENETDOWN && !exists()) return -ENODEV;
  } while (length == -ENETDOWN);
  if (length < ETH_HLEN) return length;
  for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA) continue;
    tpacket_auxdata about;
    std::memcpy(&about, CMSG_DATA(part), sizeof(about));
    if ((about.tp_status & TP_STATUS_VLAN_VALID) == 0) continue;
    put_tag_back(about, meta, frame.data(), std::size_t(length));
    length += kTagLength;
  }
  return length;
}

}  // namespace lkm
