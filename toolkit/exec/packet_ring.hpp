// SPDX-License-Identifier: GPL-2.0
//
// PacketRing: what a program maps of a packet socket, to read packets without a call for each (packet_mmap.rst, version 2
// of the format).
//
// The stack's own rings are in the stack's memory, which no other process can map. This one is a file in memory that
// both have, and the stack fills it from the socket.
//
// mmap(2) is given the socket's number. When that call is caught, the file takes the placeholder's number, so that the
// call maps it; at the process's next call that is caught, the placeholder is back. (Whoever maps a ring goes on to set a
// filter, or asks for statistics.)
#pragma once

#include <linux/if_packet.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/exec/limits.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

class PacketRing {
 public:
  /// For a socket that reserves bytes before each packet (PACKET_RESERVE). Errors: EINVAL for a geometry that cannot be,
  /// ENOMEM beyond what the program may have of memory, for all its rings; as memfd_create(2) and mmap(2).
  static Result<std::unique_ptr<PacketRing>> make(const StackFd& socket, const tpacket_req& wanted, unsigned reserve,
                                                  std::shared_ptr<Account> account);
  ~PacketRing();

  [[nodiscard]] int file() const { return file_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }

  /// Puts what the socket has into unused frames, until there is no more of either. On a fiber.
  void fill();
  /// Whether the program has frames that it has not given back.
  [[nodiscard]] bool has_some() const;

  PacketRing(const PacketRing&) = delete;
  PacketRing& operator=(const PacketRing&) = delete;

 private:
  PacketRing(const StackFd& socket, const tpacket_req& geometry, unsigned data_at, std::shared_ptr<Account> account)
      : socket_(socket),
        geometry_(geometry),
        data_at_(data_at),
        size_(std::size_t(geometry.tp_block_size) * geometry.tp_block_nr),
        account_(std::move(account)) {
    account_->rings += size_;
  }
  [[nodiscard]] std::byte* frame(std::uint32_t number) const;
  /// Where the next packet goes: in the file, behind the ring, as it holds for a copy of this process as well.
  [[nodiscard]] std::uint32_t& next() const { return *reinterpret_cast<std::uint32_t*>(memory_ + size_); }

  const StackFd& socket_;
  tpacket_req geometry_;
  unsigned data_at_;  ///< of a packet without a link header, in its frame
  std::size_t size_;
  std::shared_ptr<Account> account_;
  UniqueFd file_;
  std::byte* memory_ = nullptr;
};

}  // namespace lkm::exec
