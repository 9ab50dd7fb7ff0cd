// SPDX-License-Identifier: GPL-2.0
//
// Files of captured packets: draft-ietf-opsawg-pcap. (Not pcapng, which is another format.)
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

/// The bytes of a file: its header, and one packet's.
namespace pcap {

/// What tcpdump keeps of a packet at most, and a file may have (MAXIMUM_SNAPLEN of libpcap).
inline constexpr std::size_t kLongest = 262144;

/// Written by us: the host's byte order, nanoseconds, Ethernet.
struct FileHeader {
  std::uint32_t magic = 0xa1b23c4d;
  std::uint16_t major = 2, minor = 4;
  std::int32_t zone = 0;
  std::uint32_t accuracy = 0;
  std::uint32_t snap = kLongest;
  std::uint32_t type = 1;  ///< LINKTYPE_ETHERNET
};
struct RecordHeader {
  std::uint32_t seconds, nanoseconds;
  std::uint32_t kept;    ///< bytes that follow
  std::uint32_t length;  ///< of the packet
};

}  // namespace pcap

/// Reads a file's packets in order, each byte order and both resolutions of time. It keeps its own place in the file, so
/// that copies of a process read on by themselves.
class PcapReader {
 public:
  /// Errors: as open(2); EBADMSG when it is no pcap file; EMEDIUMTYPE when its packets are not Ethernet's; ESPIPE when it
  /// is no regular file.
  static Result<PcapReader> open(const std::string& path);

  struct Packet {
    std::chrono::nanoseconds at;  ///< since 1970
    std::size_t kept;             ///< bytes that the file has of it, which were put into `frame`
    std::size_t length;           ///< of the packet on the wire
  };
  /// The next one; nothing at the end of the file, also where it ends in the middle of a packet, or what follows makes no
  /// sense. What does not fit into `frame` is left out.
  std::optional<Packet> next(std::span<std::byte> frame);

 private:
  PcapReader(UniqueFd file, bool swapped, bool nanoseconds)
      : file_(std::move(file)), swapped_(swapped), nanoseconds_(nanoseconds) {}
  bool read(void* to, std::size_t size);

  UniqueFd file_;
  bool swapped_, nanoseconds_;
  std::uint64_t offset_ = sizeof(pcap::FileHeader);
  std::vector<std::byte> buffer_;  ///< of the file, from `buffered_at_` on
  std::uint64_t buffered_at_ = 0;
};

}  // namespace lkm
