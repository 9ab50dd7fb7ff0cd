// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/capture.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "libos-runtime/host/pcap.hpp"

namespace lkm {
namespace {

template <typename T>
void append(std::string& file, const T& value) {
  file.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

Result<std::unique_ptr<Capture>> Capture::start(Stack& stack, const std::string& netns, unsigned link,
                                                std::size_t snap, int room) {
  const std::string doing = fmt::format("capture in '{}'", netns);
  // Protocol 0: nothing comes in before it is bound to the device.
  LKM_TRY(StackFd socket, socket_in(stack, netns, AF_PACKET, SOCK_RAW, 0));
  socket.set_option(SOL_SOCKET, SO_RCVBUFFORCE, room);
  socket.set_option(SOL_SOCKET, SO_TIMESTAMPNS, int{1});
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = int(link);
  const long bound = socket.call(SYS_bind, &address, sizeof address);
  if (bound < 0) return fail(int(-bound), "{}", doing);
  auto capture = std::unique_ptr<Capture>(new Capture(std::move(socket), snap));
  append(capture->file_, pcap::FileHeader{.snap = std::uint32_t(snap)});
  return capture;
}

Result<void> Capture::drain(std::uint64_t most) {
  std::array<char, 128> control;
  for (; most > 0; --most) {
    iovec part{frame_.data(), frame_.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const long length = socket_.call(SYS_recvmsg, &message, MSG_TRUNC | MSG_DONTWAIT);
    if (length == -EAGAIN) break;
    if (length < 0) return fail(int(-length), "capture");
    timespec at{};
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
      if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SO_TIMESTAMPNS)
        std::memcpy(&at, CMSG_DATA(one), sizeof at);
    }
    const auto kept = std::min(std::size_t(length), frame_.size());
    append(file_, pcap::RecordHeader{std::uint32_t(at.tv_sec), std::uint32_t(at.tv_nsec), std::uint32_t(kept),
                               std::uint32_t(length)});
    file_.append(frame_.data(), kept);
    ++packets_;
  }
  tpacket_stats stats{};
  socklen_t size = sizeof stats;
  socket_.call(SYS_getsockopt, SOL_PACKET, PACKET_STATISTICS, &stats, &size);
  dropped_ += stats.tp_drops;
  return {};
}

Result<void> Capture::wait() {
  pollfd waits{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  const long n = socket_.stack().syscall(SYS_poll, &waits, 1, -1);
  if (n < 0) return fail(int(-n), "capture");
  if ((waits.revents & POLLERR) == 0) return {};
  int error = 0;
  socklen_t size = sizeof error;
  socket_.call(SYS_getsockopt, SOL_SOCKET, SO_ERROR, &error, &size);
  return fail(error, "capture");
}

}  // namespace lkm
