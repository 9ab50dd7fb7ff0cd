// SPDX-License-Identifier: GPL-2.0
//
// Wire: what an Ethernet device of the stack is plugged into. A new kind of device is a new Wire; see
// docs/adding-a-device.md.
//
//   LKM_TRY(auto tap, TapWire::open("tap0"));
//   LKM_CHECK(stack.add_device("eth0", std::move(tap)));
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "libos-runtime/abi/libos.h"
#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

class Wire {
 public:
  virtual ~Wire() = default;

  /// Sends one frame, Ethernet header first. Runs in interrupt context: it must not block. 0, or -errno when
  /// the frame is dropped.
  virtual int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) = 0;
  /// Readable when receive() has something.
  [[nodiscard]] virtual int descriptor() const = 0;
  /// Takes one frame, without blocking. Its length, 0 when there is none now, -errno when the wire is
  /// broken and will carry no more.
  virtual long receive(libos_frame_meta& meta, std::span<std::byte> frame) = 0;
  /// Whether frames carry virtio-net metadata: checksums and segmentation may then be left undone.
  [[nodiscard]] virtual bool has_metadata() const = 0;
};

/// A tap device of the host, in the host's network namespace of the calling thread.
class TapWire final : public Wire {
 public:
  /// Makes the tap, or attaches to one that exists. Errors: as open(2) of /dev/net/tun (EACCES without
  /// rights to it), EPERM without CAP_NET_ADMIN, EBUSY when another process has it.
  static Result<std::unique_ptr<TapWire>> open(const std::string& name);

  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override;
  [[nodiscard]] int descriptor() const override { return fd_.get(); }
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override;
  [[nodiscard]] bool has_metadata() const override { return true; }

 private:
  explicit TapWire(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

/// A cable to another stack: one end of a SOCK_SEQPACKET connection, a frame a packet.
class SocketWire final : public Wire {
 public:
  /// Takes a connected socket, for example of socketpair(2).
  explicit SocketWire(UniqueFd socket);

  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override;
  [[nodiscard]] int descriptor() const override { return fd_.get(); }
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override;
  [[nodiscard]] bool has_metadata() const override { return true; }

 private:
  UniqueFd fd_;
};

}  // namespace lkm
