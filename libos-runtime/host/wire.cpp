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

#include "libos-runtime/host/frames.hpp"

namespace lkm {

long Wire::hand_over(std::span<std::byte> buffer, const Taker& taker) {
  libos_frame_meta meta{};
  const long n = receive(meta, buffer);
  if (n <= 0) return n;
  const libos_iov whole{buffer.data(), std::size_t(n)};
  taker(meta, {&whole, 1}, whole.len);
  return n;
}

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
  return std::unique_ptr<TapWire>(new TapWire(std::move(fd), request.ifr_name));
}

int TapWire::send(const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  std::array<iovec, 24> pieces;
  const int n = gather(meta, frame, pieces);
  if (n < 0) return n;
  return ::writev(fd_.get(), pieces.data(), n) < 0 ? -errno : 0;
}

long TapWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  auto pieces = scatter(meta, frame);
  return read_frame([&] { return ::readv(fd_.get(), pieces.data(), int(pieces.size())); });
}

SocketWire::SocketWire(UniqueFd socket, Metadata metadata, std::string what)
    : metadata_(metadata), what_(std::move(what)), fd_(std::move(socket)) {
  // Room for some of the largest frames; the host may grant less, and a full cable stops the queue.
  const int bytes = 4 << 20;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int SocketWire::send(const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  return send_frame(fd_.get(), meta, frame);
}

long SocketWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  auto pieces = scatter(meta, frame);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return read_frame([&] { return ::recvmsg(fd_.get(), &message, MSG_DONTWAIT); });
}

}  // namespace lkm
