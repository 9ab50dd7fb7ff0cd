// SPDX-License-Identifier: GPL-2.0
//
// Wire: what an Ethernet device of the stack is plugged into. A new kind of device is a new Wire; see
// docs/adding-a-device.md.
//
//   LKM_TRY(auto tap, TapWire::open("tap0"));
//   LKM_CHECK(stack.add_device("eth0", std::move(tap)));
#pragma once

#include <cstdint>
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

  /// Sends one frame, Ethernet header first. Runs in interrupt context: it must not block. 0; -EAGAIN when
  /// there is no room, and descriptor() will be writable when there is; another -errno when the frame is dropped.
  virtual int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) = 0;
  /// Readable when receive() has something, writable when send() has room.
  [[nodiscard]] virtual int descriptor() const = 0;
  /// Takes one frame, without blocking. Its length, 0 when there is none now, -errno when the wire is
  /// broken and will carry no more.
  virtual long receive(libos_frame_meta& meta, std::span<std::byte> frame) = 0;
  /// Whether frames carry virtio-net metadata: checksums and segmentation may then be left undone.
  [[nodiscard]] virtual bool has_metadata() const = 0;
  /// What it is, for people: "tap tap0".
  [[nodiscard]] virtual std::string describe() const = 0;

  // -- wires whose other end may come and go ------------------------------------------------------
  /// Whether there is another end: only then are frames taken.
  [[nodiscard]] virtual bool connected() const { return true; }
  /// In interrupt context: the wire broke, or it has no other end and its descriptor became readable. The
  /// descriptor may be another one afterwards, and so may connected(). False: it is of no use any more.
  virtual bool replug() { return false; }
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

/// A cable to another stack: one end of a SOCK_SEQPACKET connection, a frame a packet.
class SocketWire final : public Wire {
 public:
  /// What the other end makes of a frame's metadata: another stack uses it; who is no stack wants finished frames.
  enum class Metadata { kUsed, kIgnored };
  /// Takes a connected socket, for example of socketpair(2). When the other end goes, so does the cable. `what` is for
  /// people.
  explicit SocketWire(UniqueFd socket, Metadata metadata = Metadata::kUsed, std::string what = "cable");
  /// The cable of that path: the end that comes first listens there (0600), the second connects. When the
  /// other end goes, this one waits at the path for the next. Errors: as bind(2) and connect(2); ENOTSOCK
  /// when something else is there.
  static Result<std::unique_ptr<SocketWire>> at(const std::string& path);
  ~SocketWire() override;

  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override;
  [[nodiscard]] int descriptor() const override { return listener_ ? listener_.get() : fd_.get(); }
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override;
  [[nodiscard]] bool has_metadata() const override { return metadata_ == Metadata::kUsed; }
  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] bool connected() const override { return bool(fd_); }
  bool replug() override;

 private:
  SocketWire() = default;
  void adopt(UniqueFd socket);
  Result<void> meet();  ///< connects at the path, or listens there
  void stop_listening();

  Metadata metadata_ = Metadata::kUsed;
  std::string what_ = "cable";
  std::string path_;   ///< empty: a socket that was given
  UniqueFd fd_;        ///< to the other end
  UniqueFd listener_;  ///< at the path, while there is no other end
};

}  // namespace lkm
