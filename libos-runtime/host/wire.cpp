// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/wire.hpp"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace lkm {
namespace {

// The layout of struct virtio_net_hdr, which tap devices read and write before each frame.
static_assert(sizeof(libos_frame_meta) == 10);
static_assert(sizeof(libos_iov) == sizeof(iovec));

/// Metadata and frame as one gather list. A frame has at most 18 pieces (MAX_SKB_FRAGS and the head).
int gather(const libos_frame_meta& meta, std::span<const libos_iov> frame,
           std::array<iovec, 24>& pieces) {
  if (frame.size() + 1 > pieces.size()) return -E2BIG;
  pieces[0] = {const_cast<libos_frame_meta*>(&meta), sizeof(meta)};
  for (std::size_t i = 0; i < frame.size(); ++i) pieces[i + 1] = {frame[i].base, frame[i].len};
  return int(frame.size() + 1);
}

std::array<iovec, 2> scatter(libos_frame_meta& meta, std::span<std::byte> frame) {
  return {iovec{&meta, sizeof(meta)}, iovec{frame.data(), frame.size()}};
}

long frame_length(ssize_t n) {
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
  if (n == 0) return -EPIPE;  // the other end is gone
  return n < ssize_t(sizeof(libos_frame_meta)) ? -EBADMSG : n - long(sizeof(libos_frame_meta));
}

}  // namespace

Result<std::unique_ptr<TapWire>> TapWire::open(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ) return fail(EINVAL, "tap '{}'", name);
  LKM_TRY(auto fd, UniqueFd::open("/dev/net/tun", O_RDWR | O_NONBLOCK));
  ifreq request{};
  std::strcpy(request.ifr_name, name.c_str());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(fd.get(), TUNSETIFF, &request) < 0) {
    return fail_hint(errno, fmt::format("ip tuntap add {} mode tap user $USER, once as root", name),
                     "tap '{}'", name);
  }
  if (::ioctl(fd.get(), TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0) {
    return fail(errno, "offloads of tap '{}'", name);
  }
  return std::unique_ptr<TapWire>(new TapWire(std::move(fd)));
}

int TapWire::send(const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  std::array<iovec, 24> pieces;
  const int n = gather(meta, frame, pieces);
  if (n < 0) return n;
  return ::writev(fd_.get(), pieces.data(), n) < 0 ? -errno : 0;
}

long TapWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  auto pieces = scatter(meta, frame);
  return frame_length(::readv(fd_.get(), pieces.data(), int(pieces.size())));
}

SocketWire::SocketWire(UniqueFd socket) : fd_(std::move(socket)) {
  // Room for some of the largest frames; the host may grant less, and a full cable drops.
  const int bytes = 4 << 20;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int SocketWire::send(const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  std::array<iovec, 24> pieces;
  const int n = gather(meta, frame, pieces);
  if (n < 0) return n;
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = std::size_t(n);
  return ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

long SocketWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  auto pieces = scatter(meta, frame);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return frame_length(::recvmsg(fd_.get(), &message, MSG_DONTWAIT));
}

}  // namespace lkm
