// SPDX-License-Identifier: GPL-2.0
//
// Network: the nodes and links of a scenario in a stack. A node is a netns; a node with more than one link forwards.
// A link is a veth pair on which TCP sends packets of one segment, so that queues hold, drop and count packets as a
// router's do, one by one. Neighbours are permanent, and IPv6 is on in scenarios only that have a flow over it, on devices
// that join no groups: nothing is on the wire but the flows.
//
// A link with a trace has its token bucket filled when the trace says so: see gate.hpp.
//
// Each end of a link emulates the way out of it: netem (delay, jitter, loss, reordering), behind it a token bucket of
// one packet (the rate), and in that the queue. So a packet has its delay first and waits for the rate then, which
// comes to the same round trip. Where the delay varies, netem is on a device of its own, a macvlan over that with the queue:
// so what the kernel's events tell of the lower one is the queue's alone.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/lab/gate.hpp"
#include "toolkit/lab/scenario.hpp"
#include "toolkit/net/ip.hpp"
#include "toolkit/net/qdisc.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm::lab {

/// Runs in the node's netns, on a fiber of its own, and waits for its end.
Result<void> inside(Stack& stack, const std::string& node, const std::function<Result<void>()>& body);

/// Majors of Queue::root begin here; no other qdisc of the lab has so high a one.
inline constexpr std::uint32_t kFirstRoot = 0x1000;

/// One direction of a link that has a rate.
struct Queue {
  std::string name;  ///< "left-right", the direction of its packets
  std::string node;  ///< whose device it is
  std::size_t link = 0;  ///< in Scenario::links
  std::uint64_t rate = 0;  ///< bit/s, at present; of a trace, over the whole of it
  const Trace* trace = nullptr;
  std::uint32_t root = 0;    ///< major of the device's first qdisc: no other device has one of that number
  std::uint32_t bucket = 0;  ///< major of the token bucket; may be the root
  nanoseconds path{};        ///< delay between the root and the bucket
  std::uint64_t limit_bytes = 0;    ///< 0: as the qdisc has it
  std::uint64_t limit_packets = 0;  ///< 0: likewise
};

class Network {
 public:
  /// On a fiber. Errors: those of the kernel, with what was tried.
  static Result<Network> build(Stack& stack, const Scenario& scenario);

  /// The address by which others reach the node.
  [[nodiscard]] const IpPrefix& address(const std::string& node, IpFamily family) const;
  [[nodiscard]] const std::vector<Queue>& queues() const { return queues_; }
  /// Without queues, between two nodes: there and back.
  [[nodiscard]] nanoseconds round_trip(const std::string& from, const std::string& to) const;

  /// Index of the link's device at its end `a`.
  [[nodiscard]] unsigned device(const std::string& link) const;
  Result<QdiscStats> stats(const Queue& queue);
  /// bit/s in that part of the run.
  [[nodiscard]] std::uint64_t rate(const Queue& queue, nanoseconds from, nanoseconds to) const;
  /// How long the last of so many bytes will wait, at that moment of the run, if they leave in order.
  [[nodiscard]] nanoseconds wait(const Queue& queue, std::uint64_t bytes, nanoseconds at) const;
  /// Of a queue with a trace.
  Result<Gate> gate(const Queue& queue);
  /// Both directions.
  Result<void> set_rate(const std::string& link, std::uint64_t rate);
  Result<void> set_up(const std::string& link, bool up);

 private:
  struct Port {
    std::size_t link;  // in Scenario::links
    std::string peer;
    std::string device;    // with the queue
    std::string upper;     // with the addresses: the same, or a macvlan over it
    unsigned index = 0;    // of the device
    unsigned upper_index = 0;
    std::map<IpFamily, IpPrefix> addresses, peer_addresses;
    MacAddress mac, peer_mac;
  };
  struct Node {
    std::vector<Port> ports;
    std::optional<Rtnl> net;
    std::optional<Qdiscs> qdiscs;
  };

  Network(Stack& stack, const Scenario& scenario);
  Result<void> make_nodes();
  Result<void> make_links();
  Result<void> forward_v6();
  Result<void> add_routes();
  Result<void> add_routes(const std::string& name, const Port& port);
  Result<void> emulate(const std::string& name, const Port& port);
  Result<void> add_queue(Qdiscs& qdiscs, const Qdiscs::Place& place, const LinkSpec& link, Queue& queue);
  Result<void> add_to(Port& port, Node& node);
  [[nodiscard]] std::map<std::string, const Port*> first_hops(const std::string& from) const;
  [[nodiscard]] Gate::Place gate_place(const Queue& queue, const Port& port) const;
  [[nodiscard]] std::vector<std::size_t> path(const std::string& from, const std::string& to) const;
  [[nodiscard]] double bytes_of(const Limit& limit, std::size_t link) const;
  Port* port_of(const std::string& node, std::size_t link);
  Result<std::size_t> find_link(const std::string& name) const;

  Stack* stack_;
  const Scenario* scenario_;
  std::vector<IpFamily> families_ = {IpFamily::kV4};
  std::map<std::string, Node> nodes_;
  std::vector<Queue> queues_;
};

}  // namespace lkm::lab
