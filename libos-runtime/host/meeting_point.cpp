// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/meeting_point.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

namespace lkm {

Result<UniqueFd> MeetingPoint::meet() {
  leave();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.empty() || path_.size() >= sizeof(address.sun_path)) return fail(ENAMETOOLONG, "cable '{}'", path_);
  std::memcpy(address.sun_path, path_.data(), path_.size());
  const auto* name = reinterpret_cast<const sockaddr*>(&address);

  // Again when somebody took the place, or left it, between two of the calls.
  for (int i = 0; i < 3; ++i) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail(errno, "cable '{}'", path_);
    if (::connect(socket.get(), name, sizeof(address)) == 0) {
      if (role_ == Role::kServer) return fail(EADDRINUSE, "cable '{}'", path_);
      return socket;
    }
    const int error = errno;
    if (error == EAGAIN) return role_ == Role::kClient ? UniqueFd() : Result<UniqueFd>(fail(EADDRINUSE, "cable '{}'", path_));
    if (error == ECONNREFUSED) {  // nobody listens: left behind by a stack that was killed
      struct stat file {};
      if (::lstat(path_.c_str(), &file) == 0 && !S_ISSOCK(file.st_mode)) return fail(ENOTSOCK, "cable '{}'", path_);
    } else if (error != ENOENT) {
      return fail(error, "cable '{}'", path_);
    }
    if (role_ == Role::kClient) return UniqueFd();
    if (error == ECONNREFUSED) ::unlink(path_.c_str());
    // The file that bind(2) makes takes its mode from the socket (unix_bind_bsd() in net/unix/af_unix.c).
    ::fchmod(socket.get(), 0600);
    if (::bind(socket.get(), name, sizeof(address)) == 0 && ::listen(socket.get(), 1) == 0) {
      listener_ = std::move(socket);
      return UniqueFd();
    }
    if (errno != EADDRINUSE) return fail(errno, "cable '{}'", path_);
  }
  return fail(EADDRINUSE, "cable '{}'", path_);
}

UniqueFd MeetingPoint::accept() {
  UniqueFd other(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (other) leave();
  return other;
}

void MeetingPoint::leave() {
  if (!listener_) return;
  ::unlink(path_.c_str());
  listener_.reset();
}

}  // namespace lkm
