// SPDX-License-Identifier: GPL-2.0
//
// memif, version 2.0: what two processes that share the memory of their frames say to each other, and what lies in that
// memory. The protocol is VPP's (libmemif, docs/interfacing/libmemif in its tree); DPDK's net_memif speaks it too.
//
// The client makes the memory and offers it in messages of 128 bytes over a SOCK_SEQPACKET socket, each with at most
// one descriptor; the server answers each with an ACK:
//
//   server ── HELLO ─▶ client ── INIT, ADD_REGION…, ADD_RING…, CONNECT ─▶ server ── CONNECTED ─▶ client
//
// There is a ring for each direction. All is in the byte order of the machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lkm::memif {

inline constexpr std::uint32_t kCookie = 0x3E31F20;  ///< at the begin of each ring
inline constexpr std::uint16_t kVersion = 0x0200;
inline constexpr unsigned kMostSlotsLog2 = 14;  ///< indexes have 16 bits, and count on

enum class Type : std::uint16_t { kAck = 1, kHello, kInit, kAddRegion, kAddRing, kConnect, kConnected, kDisconnect };

struct [[gnu::packed]] Hello {
  char name[32];  ///< of the program
  std::uint16_t least_version, most_version;
  std::uint16_t last_region, last_ring_to_client, last_ring_to_server;  ///< the highest numbers that may be
  std::uint8_t most_slots_log2;
};
struct [[gnu::packed]] Init {
  std::uint16_t version;
  std::uint32_t interface;
  std::uint8_t mode;  ///< kEthernet
  char secret[24];
  char name[32];
};
inline constexpr std::uint8_t kEthernet = 0;
struct [[gnu::packed]] AddRegion {  ///< with a descriptor of the memory
  std::uint16_t index;
  std::uint64_t size;
};
struct [[gnu::packed]] AddRing {  ///< with an eventfd, which says that there are frames
  std::uint16_t flags;
  std::uint16_t index, region;
  std::uint32_t offset;
  std::uint8_t slots_log2;
  std::uint16_t private_header;  ///< bytes in front of each frame
};
inline constexpr std::uint16_t kToServer = 1;  ///< of AddRing::flags
struct [[gnu::packed]] Connect {               ///< and CONNECTED
  char interface[32];
};
struct [[gnu::packed]] Disconnect {
  std::uint32_t code;
  char why[96];
};
struct [[gnu::packed]] Message {
  Type type;
  union {
    Hello hello;
    Init init;
    AddRegion add_region;
    AddRing add_ring;
    Connect connect;
    Disconnect disconnect;
    std::byte room[126];
  };
};
static_assert(sizeof(Message) == 128);
static_assert(sizeof(Hello) == 43 && sizeof(Init) == 63 && sizeof(AddRegion) == 10 && sizeof(AddRing) == 13);

/// A piece of a frame, or room for one.
struct Slot {
  std::uint16_t flags;
  std::uint16_t region;
  std::uint32_t length;
  std::uint32_t offset;  ///< in the region
  std::uint32_t metadata;
};
inline constexpr std::uint16_t kMore = 1;  ///< of Slot::flags: the frame goes on in the next slot
static_assert(sizeof(Slot) == 16);

/// In front of a ring's slots. Who sends to the server writes `head`, who sends to the client `tail`; the receiver the other.
struct alignas(64) RingHeader {
  std::uint32_t cookie;
  std::uint16_t flags;  ///< the receiver's
  std::uint16_t head;   ///< the client's
  std::uint32_t wants_room;  ///< between two stacks only: the sender waits for free slots
  std::byte unused[52];
  std::uint16_t tail;  ///< the server's
  std::byte unused2[62];
};
inline constexpr std::uint16_t kNoInterrupts = 1;  ///< of RingHeader::flags: the receiver looks by itself
static_assert(sizeof(RingHeader) == 128 && offsetof(RingHeader, head) == 6 && offsetof(RingHeader, tail) == 64);

}  // namespace lkm::memif
