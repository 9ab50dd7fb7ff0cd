// SPDX-License-Identifier: GPL-2.0
//
// Frames with their metadata in front, as the host's descriptors (tap, packet and SOCK_SEQPACKET sockets) take and give
// them.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <span>

#include "libos-runtime/abi/libos.h"

namespace lkm {

// The layout of struct virtio_net_hdr.
static_assert(sizeof(libos_frame_meta) == 10);
static_assert(sizeof(libos_iov) == sizeof(iovec));

/// Metadata and frame as one gather list, of that many pieces. A frame has at most 18 (MAX_SKB_FRAGS and the head).
inline int gather(const libos_frame_meta& meta, std::span<const libos_iov> frame, std::array<iovec, 24>& pieces) {
  if (frame.size() + 1 > pieces.size()) return -E2BIG;
  pieces[0] = {const_cast<libos_frame_meta*>(&meta), sizeof(meta)};
  for (std::size_t i = 0; i < frame.size(); ++i) pieces[i + 1] = {frame[i].base, frame[i].len};
  return int(frame.size() + 1);
}

inline std::array<iovec, 2> scatter(libos_frame_meta& meta, std::span<std::byte> frame) {
  return {iovec{&meta, sizeof(meta)}, iovec{frame.data(), frame.size()}};
}

/// Wire::send() on a connected or bound socket.
inline int send_frame(int socket, const libos_frame_meta& meta, std::span<const libos_iov> frame) {
  std::array<iovec, 24> pieces;
  const int n = gather(meta, frame, pieces);
  if (n < 0) return n;
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = std::size_t(n);
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/// Wire::receive() by a call that reads metadata and frame. What is too short to have any is no frame.
template <typename Read>
long read_frame(Read read) {
  constexpr auto kMeta = ssize_t(sizeof(libos_frame_meta));
  for (;;) {
    const ssize_t n = read();
    if (n > kMeta) return n - kMeta;
    if (n == 0) return -EPIPE;  // the other end is gone
    if (n < 0 && errno != EINTR) return errno == EAGAIN ? 0 : -errno;
  }
}

}  // namespace lkm
