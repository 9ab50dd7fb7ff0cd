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
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libos-runtime/abi/libos.h"
#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

class Wire {
 public:
  virtual ~Wire() = default;

  /// Sends one frame, Ethernet header first. Runs in interrupt context: it must not block. 0; -EAGAIN when
  /// there is no room, and descriptor() will be writable when there is; another -errno when the frame is dropped.
  virtual int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) = 0;
  /// Readable when receive() has something, writable when send() has room.
  [[nodiscard]] virtual int descriptor() const = 0;
  /// Takes one frame, without blocking. Its length, 0 when there is none now, -errno when the wire is
  /// broken and will carry no more.
  virtual long receive(libos_frame_meta& meta, std::span<std::byte> frame) = 0;
  /// Whether frames carry virtio-net metadata: checksums and segmentation may then be left undone. With another end it may
  /// be otherwise.
  [[nodiscard]] virtual bool has_metadata() const = 0;
  /// What it is, for people: "tap tap0".
  [[nodiscard]] virtual std::string describe() const = 0;

  // -- wires whose other end may come and go ------------------------------------------------------
  /// Whether there is another end: only then are frames taken.
  [[nodiscard]] virtual bool connected() const { return true; }
  /// Whether another end has been found, and it takes some messages until it is one.
  [[nodiscard]] virtual bool connecting() const { return false; }
  /// In interrupt context: the wire broke, or it has no other end and its descriptor became readable. The
  /// descriptor may be another one afterwards, and so may connected(). False: it is of no use any more.
  virtual bool replug() { return false; }
  /// What became of the other end since this was asked last, as a line for the kernel's log; else empty.
  virtual std::string news() { return {}; }

  // -- wires that are more than one descriptor -------------------------------------------------------
  /// Descriptors besides descriptor(). When one is readable, receive() is called, or replug(), as for that.
  [[nodiscard]] virtual std::vector<int> others() const { return {}; }
  /// After send() has said -EAGAIN: whether there is room now. It is asked whenever a descriptor was readable, as one will be
  /// again when this is false. Nothing: descriptor() is writable when there is room, which is waited for.
  [[nodiscard]] virtual std::optional<bool> room() { return std::nullopt; }
  using Taker = std::function<void(const libos_frame_meta& meta, std::span<const libos_iov> frame, std::size_t length)>;
  /// As receive(), but gives the frame to `taker`: who has it in memory anyway need not copy it to `buffer`. A frame that is
  /// skipped counts as one.
  virtual long hand_over(std::span<std::byte> buffer, const Taker& taker);
  /// In a copy of the process that goes on (Snapshot), on a fiber: what the original did since is not known here.
  virtual void resumed() {}
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
  [[nodiscard]] std::string describe() const override { return "tap " + name_; }

 private:
  TapWire(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  UniqueFd fd_;
  std::string name_;
};

/// One end of a SOCK_SEQPACKET connection, a frame a packet: to a stack or another process that was given the other end.
/// When that goes, the wire is of no use any more. MemifWire is the cable between two that find each other by a path.
class SocketWire final : public Wire {
 public:
  /// What the other end makes of a frame's metadata: another stack uses it; who is no stack wants finished frames.
  enum class Metadata { kUsed, kIgnored };
  /// Takes a connected socket, for example of socketpair(2). `what` is for people.
  explicit SocketWire(UniqueFd socket, Metadata metadata = Metadata::kUsed, std::string what = "cable");

  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override;
  [[nodiscard]] int descriptor() const override { return fd_.get(); }
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override;
  [[nodiscard]] bool has_metadata() const override { return metadata_ == Metadata::kUsed; }
  [[nodiscard]] std::string describe() const override { return what_; }

 private:
  Metadata metadata_;
  std::string what_;
  UniqueFd fd_;
};

}  // namespace lkm
