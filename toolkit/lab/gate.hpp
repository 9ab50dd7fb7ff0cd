// SPDX-License-Identifier: GPL-2.0
//
// Gate: lets single packets out of a queue, at moments that somebody else chooses. It is made of the kernel's qdiscs, so
// that any queue can be behind it:
//
//   prio ─┬─ [netem] ─ tbf ─ the queue
//         └─ plug, which no packet ever enters
//
// A change of a token bucket fills it; as its rate is next to nothing, it gets no other tokens. A release of the plug
// makes the device look for a packet again. Each packet costs the same number of tokens (the ratespec's mpu), so that
// nothing is left in the bucket when they are gone. Only on fibers.
#pragma once

#include "toolkit/net/qdisc.hpp"

namespace lkm::lab {

class Gate {
 public:
  struct Place {
    unsigned link = 0;  ///< index of the device
    std::uint32_t root = 0, bucket = 0, queue = 0;  ///< majors of prio, tbf and the queue
    std::uint32_t packet = 0;       ///< bytes of a full one
    std::uint32_t queue_limit = 0;  ///< of a FIFO, in its own unit
  };

  /// Makes prio and plug; returns the parent of what packets go through.
  static Result<std::uint32_t> make_root(Qdiscs& qdiscs, const Place& place);
  /// Makes the bucket there, with one packet's tokens in it.
  static Result<void> make_bucket(Qdiscs& qdiscs, const Place& place, std::uint32_t parent);

  /// With a connection to the kernel of its own.
  Gate(Qdiscs qdiscs, const Place& place) : qdiscs_(std::move(qdiscs)), place_(place) {}
  /// Lets out of the queue what fits into so many full packets: as many of the packets that wait as do by their mean
  /// size.
  Result<void> open(std::uint64_t packets);

 private:
  Qdiscs qdiscs_;
  Place place_;
};

}  // namespace lkm::lab
