// SPDX-License-Identifier: GPL-2.0
//
// PacketWire: an interface of the host as a wire, by a packet socket (packet(7)).
#pragma once

#include "libos-runtime/host/wire.hpp"

namespace lkm {

/// The stack shares an Ethernet interface of the host (a veth, a real card): its device has an address of its own on that
/// segment, and the host's kernel goes on using the interface. Frames of up to 64 KiB pass whole, with checksums left
/// undone, as the interface itself allows it.
class PacketWire final : public Wire {
 public:
  /// Of the host's network namespace of the calling thread. Errors: ENODEV when there is no such interface, EPERM without
  /// CAP_NET_RAW, EMEDIUMTYPE when it is not Ethernet.
  static Result<std::unique_ptr<PacketWire>> open(const std::string& interface);

  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override;
  [[nodiscard]] int descriptor() const override { return fd_.get(); }
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override;
  [[nodiscard]] bool has_metadata() const override { return true; }
  [[nodiscard]] std::string describe() const override { return "packet " + interface_; }

 private:
  PacketWire(UniqueFd fd, std::string interface, int index)
      : fd_(std::move(fd)), interface_(std::move(interface)), index_(index) {}
  [[nodiscard]] bool exists() const;

  UniqueFd fd_;
  std::string interface_;
  int index_;  ///< of the interface
};

}  // namespace lkm
