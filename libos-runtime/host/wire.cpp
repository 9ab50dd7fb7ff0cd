// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/wire.hpp"

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "libos-runtime/host/frames.hpp"

namespace lkm {

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
    : metadata_(metadata), what_(std::move(what)) {
  adopt(std::move(socket));
}

SocketWire::~SocketWire() { stop_listening(); }

Result<std::unique_ptr<SocketWire>> SocketWire::at(const std::string& path) {
  auto wire = std::unique_ptr<SocketWire>(new SocketWire());
  wire->path_ = path;
  LKM_CHECK(wire->meet());
  return wire;
}

void SocketWire::adopt(UniqueFd socket) {
  fd_ = std::move(socket);
  // Room for some of the largest frames; the host may grant less, and a full cable stops the queue.
  const int bytes = 4 << 20;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

Result<void> SocketWire::meet() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.empty() || path_.size() >= sizeof(address.sun_path)) {
    return fail(ENAMETOOLONG, "cable '{}'", path_);
  }
  std::memcpy(address.sun_path, path_.data(), path_.size());
  const auto* name = reinterpret_cast<const sockaddr*>(&address);

  // Again when somebody took the place, or left it, between two of the calls.
  for (int i = 0; i < 3; ++i) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail(errno, "cable '{}'", path_);
    if (::connect(socket.get(), name, sizeof(address)) == 0) {
      adopt(std::move(socket));
      return {};
    }
    if (errno == ECONNREFUSED) {  // nobody listens: left behind by a stack that was killed
      struct stat file {};
      if (::lstat(path_.c_str(), &file) == 0 && !S_ISSOCK(file.st_mode)) {
        return fail(ENOTSOCK, "cable '{}'", path_);
      }
      ::unlink(path_.c_str());
    } else if (errno != ENOENT) {
      return fail(errno, "cable '{}'", path_);
    }
    // The file that bind(2) makes takes its mode from the socket (unix_bind_bsd() in net/unix/af_unix.c).
    ::fchmod(socket.get(), 0600);
    if (::bind(socket.get(), name, sizeof(address)) == 0 && ::listen(socket.get(), 1) == 0) {
      listener_ = std::move(socket);
      return {};
    }
    if (errno != EADDRINUSE) return fail(errno, "cable '{}'", path_);
  }
  return fail(EADDRINUSE, "cable '{}'", path_);
}

void SocketWire::stop_listening() {
  if (!listener_) return;
  ::unlink(path_.c_str());
  listener_.reset();
}

bool SocketWire::replug() {
  if (path_.empty()) return false;
  if (!listener_) {
    fd_.reset();
    return bool(meet());
  }
  UniqueFd other(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (other) {
    stop_listening();
    adopt(std::move(other));
  }
  return true;
}

std::string SocketWire::describe() const { return path_.empty() ? what_ : what_ + " " + path_; }

int SocketWire::send(const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  return fd_ ? send_frame(fd_.get(), meta, frame) : -ENOTCONN;
}

long SocketWire::receive(libos_frame_meta& meta, std::span<std::byte> frame) {
  auto pieces = scatter(meta, frame);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return read_frame([&] { return ::recvmsg(fd_.get(), &message, MSG_DONTWAIT); });
}

}  // namespace lkm
