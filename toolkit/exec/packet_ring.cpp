// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/packet_ring.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace lkm::exec {
namespace {

constexpr std::size_t kPage = 4096;
/// What the kernel keeps room for between its header and the network's (tpacket_rcv() in net/packet/af_packet.c).
constexpr unsigned kLinkHeader = 16;
/// Of the socket: what comes while the program is not looking is in the ring, not here.
constexpr int kSocketBuffer = 2 << 20;

std::atomic_ref<std::uint32_t> status_of(std::byte* frame) {
  return std::atomic_ref(reinterpret_cast<tpacket2_hdr*>(frame)->tp_status);
}

}  // namespace

Result<std::unique_ptr<PacketRing>> PacketRing::make(const StackFd& socket, const tpacket_req& wanted, unsigned reserve,
                                                     std::shared_ptr<Account> account) {
  const unsigned data_at = TPACKET_ALIGN(TPACKET2_HDRLEN + kLinkHeader) + reserve;
  const bool sensible = wanted.tp_block_size > 0 && wanted.tp_block_size % kPage == 0 && wanted.tp_block_nr > 0 &&
                        wanted.tp_frame_size % TPACKET_ALIGNMENT == 0 && reserve <= UINT16_MAX / 2 &&
                        wanted.tp_frame_size > data_at && wanted.tp_frame_size <= wanted.tp_block_size &&
                        std::uint64_t(wanted.tp_block_size / wanted.tp_frame_size) * wanted.tp_block_nr == wanted.tp_frame_nr;
  if (!sensible) return fail(EINVAL, "make a packet ring");
  const std::uint64_t size = std::uint64_t(wanted.tp_block_size) * wanted.tp_block_nr;
  if (size + account->rings > account->limits().memory) return fail(ENOMEM, "make a packet ring");
  auto ring = std::unique_ptr<PacketRing>(new PacketRing(socket, wanted, data_at, std::move(account)));
  ring->file_ = UniqueFd(::memfd_create("packet-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // The program has the file for a moment, and must not make it shorter than what is mapped here.
  if (!ring->file_ || ::ftruncate(ring->file_.get(), off_t(ring->size_ + kPage)) != 0 ||
      ::fcntl(ring->file_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail(errno, "make a packet ring");
  void* const memory = ::mmap(nullptr, ring->size_ + kPage, PROT_READ | PROT_WRITE, MAP_SHARED, ring->file_.get(), 0);
  if (memory == MAP_FAILED) return fail(errno, "map a packet ring");
  ring->memory_ = static_cast<std::byte*>(memory);
  // What a frame says of its packet comes with it as control messages.
  socket.set_option(SOL_PACKET, PACKET_AUXDATA, 1);
  socket.set_option(SOL_SOCKET, SO_TIMESTAMPNS, 1);
  socket.set_option(SOL_SOCKET, SO_RCVBUFFORCE, kSocketBuffer);
  return ring;
}

PacketRing::~PacketRing() {
  account_->rings -= size_;
  if (memory_ != nullptr) ::munmap(memory_, size_ + kPage);
}

std::byte* PacketRing::frame(std::uint32_t number) const {
  const std::uint32_t in_block = geometry_.tp_block_size / geometry_.tp_frame_size;
  return memory_ + std::size_t(number / in_block) * geometry_.tp_block_size + std::size_t(number % in_block) * geometry_.tp_frame_size;
}

void PacketRing::fill() {
  int type = SOCK_RAW;
  socklen_t type_size = sizeof type;
  socket_.call(SYS_getsockopt, SOL_SOCKET, SO_TYPE, &type, &type_size);
  for (;;) {
    // The program has the file: what stands there is only ever taken for a number.
    const std::uint32_t number = next() % geometry_.tp_frame_nr;
    std::byte* const to = frame(number);
    if (status_of(to).load(std::memory_order_acquire) != TP_STATUS_KERNEL) return;
    constexpr std::size_t kEthernet = 14;
    const std::size_t at = type == SOCK_RAW ? data_at_ - kEthernet : data_at_;
    sockaddr_ll from{};
    alignas(cmsghdr) std::array<char, 256> control;
    iovec part{to + at, geometry_.tp_frame_size - at};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const long got = socket_.call(SYS_recvmsg, &message, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0) return;
    timespec time{};
    tpacket_auxdata about{};
    about.tp_status = TP_STATUS_USER;
    about.tp_len = about.tp_snaplen = std::uint32_t(got);
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
      if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SO_TIMESTAMPNS) std::memcpy(&time, CMSG_DATA(one), sizeof time);
      if (one->cmsg_level == SOL_PACKET && one->cmsg_type == PACKET_AUXDATA) std::memcpy(&about, CMSG_DATA(one), sizeof about);
    }
    auto& header = *reinterpret_cast<tpacket2_hdr*>(to);
    header.tp_len = about.tp_len;
    header.tp_snaplen = std::min(about.tp_snaplen, std::uint32_t(part.iov_len));
    header.tp_mac = std::uint16_t(at);
    header.tp_net = std::uint16_t(data_at_);
    header.tp_sec = std::uint32_t(time.tv_sec);
    header.tp_nsec = std::uint32_t(time.tv_nsec);
    header.tp_vlan_tci = about.tp_vlan_tci;
    header.tp_vlan_tpid = about.tp_vlan_tpid;
    std::memcpy(to + TPACKET_ALIGN(sizeof header), &from, sizeof from);
    next() = (number + 1) % geometry_.tp_frame_nr;
    status_of(to).store(about.tp_status | TP_STATUS_USER, std::memory_order_release);
  }
}

bool PacketRing::has_some() const {
  // Frames are given back in order: the last that was filled is the last to come back.
  const std::uint32_t last = (next() % geometry_.tp_frame_nr + geometry_.tp_frame_nr - 1) % geometry_.tp_frame_nr;
  return status_of(frame(last)).load(std::memory_order_acquire) != TP_STATUS_KERNEL;
}

}  // namespace lkm::exec
