// SPDX-License-Identifier: GPL-2.0
//
// PcapWire: frames from a file come in, and what the stack sends goes into another one.
//
//   LKM_TRY(auto wire, PcapWire::open({.in = "in.pcap", .out = "out.pcap"}));
//   PcapWire& replay = *wire;
//   LKM_CHECK(stack.add_device("eth0", std::move(wire), {}));
//   // … addresses, and the device is up …
//   replay.begin();
#pragma once

#include <memory>
#include <vector>

#include "libos-runtime/host/pcap.hpp"
#include "libos-runtime/host/wire.hpp"

namespace lkm {

struct PcapOptions {
  std::string in;   ///< empty: nothing comes in
  std::string out;  ///< empty: what is sent is lost; else made, or emptied
  /// Frames come one after the other as fast as the stack takes them, and not at the distances that they were captured at.
  bool fast = false;
};

class PcapWire final : public Wire {
 public:
  /// Errors: as PcapReader::open(), and as open(2) of the file to be written.
  static Result<std::unique_ptr<PcapWire>> open(const PcapOptions& options);

  /// The first frame comes now. Between fibers, or on one.
  void begin();

  int send(const libos_frame_meta& meta, std::span<const libos_iov> frame) override;
  [[nodiscard]] int descriptor() const override { return timer_.get(); }
  long receive(libos_frame_meta& meta, std::span<std::byte> frame) override;
  [[nodiscard]] bool has_metadata() const override { return false; }
  /// "pcap in.pcap, 120 frames in, at its end".
  [[nodiscard]] std::string describe() const override;

 private:
  PcapWire(PcapOptions options, UniqueFd timer) : options_(std::move(options)), timer_(std::move(timer)) {}
  void read_ahead();
  void ring_at(std::chrono::nanoseconds when);

  PcapOptions options_;
  UniqueFd timer_;  // readable once the next frame is due (timerfd_create(2), CLOCK_MONOTONIC)
  std::optional<PcapReader> in_;
  UniqueFd out_;
  std::vector<std::byte> next_frame_;
  std::optional<PcapReader::Packet> next_;
  std::chrono::nanoseconds begun_{}, due_{};
  std::optional<std::chrono::nanoseconds> first_;  ///< by the file's clock
  std::uint64_t received_ = 0, cut_ = 0, sent_ = 0;
};

}  // namespace lkm
