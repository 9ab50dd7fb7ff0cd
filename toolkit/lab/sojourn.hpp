// SPDX-License-Identifier: GPL-2.0
//
// Sojourns: how long each packet was in a queue, by the kernel's own events qdisc:qdisc_enqueue and qdisc:qdisc_dequeue.
// They tell when a packet came to a device's first qdisc and when it left it for the wire; where that is a netem, what it
// delays every packet by is known and not counted (Queue::path).
//
// Nobody waits for events; they are fetched at fixed times, as a capture's packets are. Only on fibers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/lab/network.hpp"
#include "toolkit/lab/scenario.hpp"
#include "toolkit/lab/times.hpp"
#include "toolkit/lab/trace_buffer.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::lab {

class Sojourns {
 public:
  /// From here on. Errors: ENOENT when the kernel has no such events.
  static Result<std::unique_ptr<Sojourns>> start(Stack& stack, const Scenario& scenario, const Network& network);
  Sojourns(const Sojourns&) = delete;
  Sojourns& operator=(const Sojourns&) = delete;

  /// How often drain() is to be called at least, in the stack's time, that the kernel has room for all events.
  [[nodiscard]] nanoseconds interval() const { return interval_; }
  /// Fetches what has happened. EIO when the room was not enough.
  Result<void> drain();

  /// Of the packets that have left since the last time.
  struct Part {
    std::uint64_t packets = 0;
    nanoseconds sum{}, longest{};
  };
  /// Of a queue, by its place in Network::queues().
  Part take(std::size_t queue);
  /// Of all packets so far.
  [[nodiscard]] const Times& all(std::size_t queue) const { return queues_[queue].all; }

 private:
  struct PerQueue {
    nanoseconds path{};
    Part part;
    Times all;
  };
  /// When packets came, by their address. Never smaller: the kernel uses the same memory again and again, and one that was
  /// dropped inside of a queue is in here until its memory is another packet.
  class Waiting {
   public:
    struct Came {
      std::uint64_t packet = 0;  ///< 0: free
      std::uint64_t at_ns = 0;   ///< 0: it has left
      std::size_t queue = 0;
    };
    Came& operator[](std::uint64_t packet);

   private:
    Came& place_of(std::uint64_t packet);

    std::vector<Came> places_ = std::vector<Came>(1024);  // a power of two, half of them free at least
    std::size_t used_ = 0;
  };
  struct Event {
    std::uint16_t id = 0;
    EventField handle, packet;
  };

  explicit Sojourns(Stack& stack) : stack_(stack) {}
  Result<Event> enable(const std::string& name);
  void note(std::uint64_t at_ns, std::span<const std::byte> event);

  Stack& stack_;
  StackFd pipe_;
  nanoseconds interval_{};
  Event enqueue_, dequeue_;
  bool others_ = false;  // there are devices with a qdisc and without a queue
  std::vector<std::byte> page_;
  std::vector<PerQueue> queues_;
  Waiting waiting_;
};

}  // namespace lkm::lab
