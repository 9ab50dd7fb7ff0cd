// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/network.hpp"

#include <linux/pkt_sched.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kPathPackets = 1 << 20;  // those under way in the delay: no queue, so never full
constexpr std::uint32_t kHeader = 14;            // bytes of an Ethernet header, which the qdiscs count too
constexpr std::uint64_t kLeastPackets = 100;     // of a queue whose limit nobody gave

// Majors of the qdiscs of a port. The first one of a port with a queue has a number of its own in place of this, by which
// the kernel's events tell whose they are.
constexpr std::uint32_t kPath = 1, kRate = 2, kQueue = 3;

IpPrefix address_of(IpFamily family, std::size_t link, unsigned end) {
  if (family == IpFamily::kV6) {
    IpPrefix address{IpFamily::kV6, {0xfd, 0x77}, 64};
    for (std::size_t i = 0; i < 4; ++i) address.bytes[7 - i] = std::uint8_t(link >> 8 * i);
    address.bytes[15] = std::uint8_t(end);
    return address;
  }
  IpPrefix address{IpFamily::kV4, {}, 30};
  address.bytes = {10, std::uint8_t(77 + link / (256 * 64)), std::uint8_t(link / 64 % 256),
                   std::uint8_t(link % 64 * 4 + end)};
  return address;
}

IpPrefix network_of(IpFamily family, std::size_t link) { return address_of(family, link, 0); }

MacAddress mac_of(std::size_t link, unsigned end) {
  return {2, 0, std::uint8_t(link >> 16), std::uint8_t(link >> 8), std::uint8_t(link), std::uint8_t(end)};
}

}  // namespace

Result<void> inside(Stack& stack, const std::string& node, const std::function<Result<void>()>& body) {
  Result<void> result;
  LKM_TRY(Fiber fiber, stack.spawn("lab-setup", [&] {
    result = stack.netns_enter(node);
    if (result) result = body();
  }));
  fiber.join();
  return result;
}

Network::Network(Stack& stack, const Scenario& scenario) : stack_(&stack), scenario_(&scenario) {
  if (std::ranges::count(scenario.flows, IpFamily::kV6, &FlowSpec::ip) > 0) families_.push_back(IpFamily::kV6);
}

Result<Network> Network::build(Stack& stack, const Scenario& scenario) {
  Network network(stack, scenario);
  LKM_CHECK(network.make_nodes());
  LKM_CHECK(network.make_links());
  LKM_CHECK(network.forward_v6());
  LKM_CHECK(network.add_routes());
  return network;
}

Result<void> Network::make_nodes() {
  for (std::size_t i = 0; i < scenario_->links.size(); ++i) {
    const LinkSpec& link = scenario_->links[i];
    const auto port = [&](const std::string& peer, unsigned end) {
      Port made{.link = i,
                .peer = peer,
                .device = fmt::format("link{}", i),
                .upper = fmt::format("{}{}", link.has_queue() && link.varies() ? "path" : "link", i),
                .addresses = {},
                .peer_addresses = {},
                .mac = mac_of(i, end),
                .peer_mac = mac_of(i, 3 - end)};
      for (const IpFamily family : families_) {
        made.addresses[family] = address_of(family, i, end);
        made.peer_addresses[family] = address_of(family, i, 3 - end);
      }
      return made;
    };
    nodes_[link.a].ports.push_back(port(link.b, 1));
    nodes_[link.b].ports.push_back(port(link.a, 2));
  }
  for (auto& [name, node] : nodes_) {
    LKM_CHECK(stack_->netns_add(name));
    const auto configure = [&, forwards = node.ports.size() > 1]() -> Result<void> {
      const bool v6 = families_.size() > 1;
      for (const std::string scope : {"net.ipv6.conf.all.", "net.ipv6.conf.default."}) {
        if (!v6) LKM_CHECK(stack_->sysctl(scope + "disable_ipv6", "1"));
        if (!v6) continue;
        LKM_CHECK(stack_->sysctl(scope + "addr_gen_mode", "1"));  // no addresses but ours
        LKM_CHECK(stack_->sysctl(scope + "keep_addr_on_down", "1"));  // as IPv4 does
      }
      // What one connection learnt of the path is not for the next: each flow is an experiment of its own.
      LKM_CHECK(stack_->sysctl("net.ipv4.tcp_no_metrics_save", "1"));
      // A window of hundreds of milliseconds at 1 Gbit/s: the limit of a path is to be its links.
      for (const char* buffer : {"rmem", "wmem"})
        LKM_CHECK(stack_->sysctl(fmt::format("net.ipv4.tcp_{}", buffer), "4096 131072 67108864"));
      LKM_CHECK(stack_->sysctl("net.ipv4.ip_forward", forwards ? "1" : "0"));
      for (const auto& [key, value] : scenario_->sysctls) {
        if (auto set = stack_->sysctl(key, value); !set)
          return Failure(std::move(set).error().while_doing(fmt::format("sysctl {} = {}", key, value)));
      }
      return {};
    };
    LKM_CHECK(inside(*stack_, name, configure));
    LKM_TRY(node.net, Rtnl::open(*stack_, name));
    LKM_TRY(node.qdiscs, Qdiscs::open(*stack_, name));
  }
  return {};
}

Result<void> Network::make_links() {
  for (std::size_t i = 0; i < scenario_->links.size(); ++i) {
    const LinkSpec& link = scenario_->links[i];
    const Port& near = *port_of(link.a, i);
    LKM_CHECK(nodes_[link.a].net->veth_add(near.device, {.peer_netns = link.b,
                                                         .peer = near.device,
                                                         .mtu = link.mtu,
                                                         .mac = near.mac,
                                                         .peer_mac = near.peer_mac,
                                                         .segmentation_offload = false}));
    for (const std::string& name : {link.a, link.b}) {
      Node& node = nodes_[name];
      Port& port = *port_of(name, i);
      if (port.upper != port.device) LKM_CHECK(node.net->macvlan_add(port.upper, port.device));
      LKM_TRY(port.index, node.net->link_index(port.device));
      LKM_TRY(port.upper_index, node.net->link_index(port.upper));
      LKM_CHECK(emulate(name, port));
      LKM_CHECK(add_to(port, node));
    }
  }
  return {};
}

// Not before the devices are silent: one that may forward when it is made joins the groups of routers.
Result<void> Network::forward_v6() {
  if (families_.size() == 1) return {};
  for (const auto& [name, node] : nodes_) {
    if (node.ports.size() == 1) continue;
    LKM_CHECK(inside(*stack_, name, [&] { return stack_->sysctl("net.ipv6.conf.all.forwarding", "1"); }));
  }
  return {};
}

// The device is up, has its address, and knows the other end.
Result<void> Network::add_to(Port& port, Node& node) {
  for (const std::string& device : {port.device, port.upper}) {
    if (families_.size() > 1) LKM_CHECK(node.net->link_silent(device));
    LKM_CHECK(node.net->link_up(device));
  }
  for (const auto& [family, address] : port.addresses) LKM_CHECK(node.net->addr_add(port.upper, address));
  for (const auto& [family, address] : port.peer_addresses)
    LKM_CHECK(node.net->neighbour_add(port.upper, address, port.peer_mac));
  return {};
}

Result<void> Network::emulate(const std::string& name, const Port& port) {
  const LinkSpec& link = scenario_->links[port.link];
  Qdiscs& qdiscs = *nodes_[name].qdiscs;
  std::uint32_t parent = TC_H_ROOT;
  Queue queue{.name = fmt::format("{}-{}", name, port.peer), .node = name, .link = port.link, .rate = link.rate};
  if (link.has_queue()) queue.root = kFirstRoot + std::uint32_t(queues_.size());
  const auto major = [&](std::uint32_t usual) { return parent == TC_H_ROOT && link.has_queue() ? queue.root : usual; };
  if (link.trace) {
    queue.trace = (name == link.a ? link.trace : link.trace_back).get();
    queue.rate = queue.trace->rate(link.mtu + kHeader);
    LKM_TRY(parent, Gate::make_root(qdiscs, gate_place(queue, port)));
  }
  if (link.needs_path()) {
    const Netem netem{.delay = link.delay,
                      .jitter = link.jitter,
                      .loss = link.loss,
                      .reorder = link.reorder,
                      .limit = kPathPackets};
    const bool apart = port.upper != port.device;
    const std::uint32_t path = apart ? kPath : major(kPath);
    LKM_CHECK(qdiscs.add({port.upper_index, apart ? TC_H_ROOT : parent, handle(path)}, "netem",
                         [&](nlmsghdr* message) { put_netem_options(message, netem); }));
    if (!apart) parent = class_of(path, 1);  // netem's only class
    if (!apart) queue.path = link.delay;
  }
  if (!link.has_queue()) return {};
  queue.bucket = major(kRate);
  if (link.trace) {
    LKM_CHECK(Gate::make_bucket(qdiscs, gate_place(queue, port), parent));
  } else {
    LKM_CHECK(qdiscs.add({port.index, parent, handle(queue.bucket)}, "tbf",
                         [&](nlmsghdr* message) { put_tbf(message, link.rate, link.mtu + kHeader, link.mtu); }));
  }
  LKM_CHECK(add_queue(qdiscs, {port.index, class_of(queue.bucket, 1), handle(kQueue)}, link, queue));
  queues_.push_back(std::move(queue));
  return {};
}

Result<void> Network::add_queue(Qdiscs& qdiscs, const Qdiscs::Place& place, const LinkSpec& link, Queue& queue) {
  const double frame = link.mtu + kHeader;
  double bytes = bytes_of(link.limit, queue.link);
  if (bytes == 0 && link.qdisc.empty())
    bytes = std::max(bytes_of({1, Limit::Unit::kBdp}, queue.link), double(kLeastPackets) * frame);
  const bool in_packets = link.limit.unit == Limit::Unit::kPackets;
  std::string kind = link.qdisc;
  if (kind.empty()) kind = in_packets && link.limit.value > 0 ? "pfifo" : "bfifo";

  const auto packets = std::uint32_t(in_packets ? link.limit.value : std::max(1.0, std::ceil(bytes / frame)));
  const auto limit_in = [&](std::uint16_t limit, std::uint16_t ecn) {
    if (bytes > 0) queue.limit_packets = packets;
    return [=, given = bytes > 0, mark = link.ecn](nlmsghdr* message) {
      if (given) mnl_attr_put_u32(message, limit, packets);
      mnl_attr_put_u32(message, ecn, mark ? 1 : 0);
    };
  };
  if (kind == "pfifo" || kind == "bfifo") {
    const bool of_packets = kind == "pfifo";
    tc_fifo_qopt options{};
    options.limit = of_packets ? packets : std::uint32_t(bytes);
    (of_packets ? queue.limit_packets : queue.limit_bytes) = options.limit;
    return qdiscs.add(place, kind, [&](nlmsghdr* message) {
      std::memcpy(mnl_nlmsg_get_payload_tail(message), &options, sizeof options);
      message->nlmsg_len += sizeof options;
    });
  }
  if (kind == "codel") return qdiscs.add(place, kind, limit_in(TCA_CODEL_LIMIT, TCA_CODEL_ECN));
  if (kind == "fq_codel") return qdiscs.add(place, kind, limit_in(TCA_FQ_CODEL_LIMIT, TCA_FQ_CODEL_ECN));
  if (kind == "pie") return qdiscs.add(place, kind, limit_in(TCA_PIE_LIMIT, TCA_PIE_ECN));
  if (kind == "red") {
    // A step: below the threshold nothing is marked or dropped, above everything. With a weight of 1 the average is
    // the queue of this moment.
    const double threshold = bytes_of(link.mark_at, queue.link);
    if (threshold <= 0) return fail(EINVAL, "link {}: the qdisc red needs mark_at", link.name());
    tc_red_qopt options{};
    options.limit = std::uint32_t(bytes > 0 ? bytes : std::max(4 * threshold, bytes_of({1, Limit::Unit::kBdp}, queue.link)));
    options.qth_min = std::uint32_t(threshold);
    options.qth_max = options.qth_min + 1;
    options.Wlog = 0;
    options.Scell_log = 31;
    options.flags = std::uint8_t(link.ecn ? TC_RED_ECN : 0);
    queue.limit_bytes = options.limit;
    return qdiscs.add(place, kind, [&](nlmsghdr* message) {
      const std::array<std::uint8_t, 256> no_idle{};
      mnl_attr_put(message, TCA_RED_PARMS, sizeof options, &options);
      mnl_attr_put(message, TCA_RED_STAB, no_idle.size(), no_idle.data());
      mnl_attr_put_u32(message, TCA_RED_MAX_P, UINT32_MAX);
    });
  }
  if (link.limit.value > 0 || link.ecn)
    return fail(EINVAL, "link {}: limit and ecn of the qdisc {} cannot be set", link.name(), kind);
  return qdiscs.add(place, kind, {});
}

// -- paths ---------------------------------------------------------------------------------------------------------

// By node, the port of `from` that leads there; shortest way, and of those the one through the link named first.
std::map<std::string, const Network::Port*> Network::first_hops(const std::string& from) const {
  std::map<std::string, const Port*> hops{{from, nullptr}};
  std::deque<std::string> next{from};
  while (!next.empty()) {
    const std::string name = next.front();
    next.pop_front();
    for (const Port& port : nodes_.at(name).ports) {
      if (hops.contains(port.peer)) continue;
      hops[port.peer] = name == from ? &port : hops[name];
      next.push_back(port.peer);
    }
  }
  return hops;
}

std::vector<std::size_t> Network::path(const std::string& from, const std::string& to) const {
  std::vector<std::size_t> links;
  for (std::string at = from; at != to;) {
    const auto hops = first_hops(at);
    const auto hop = hops.find(to);
    if (hop == hops.end()) return {};
    links.push_back(hop->second->link);
    at = hop->second->peer;
  }
  return links;
}

nanoseconds Network::round_trip(const std::string& from, const std::string& to) const {
  nanoseconds sum{};
  for (const std::size_t link : path(from, to)) sum += 2 * scenario_->links[link].delay;
  return sum;
}

double Network::bytes_of(const Limit& limit, std::size_t index) const {
  const LinkSpec& link = scenario_->links[index];
  if (limit.unit == Limit::Unit::kBytes) return limit.value;
  if (limit.unit == Limit::Unit::kPackets) return limit.value * (link.mtu + kHeader);
  nanoseconds longest{};
  for (const FlowSpec& flow : scenario_->flows) {
    if (std::ranges::count(path(flow.from, flow.to), index) > 0)
      longest = std::max(longest, round_trip(flow.from, flow.to));
  }
  if (longest == 0ns) longest = 2 * link.delay;
  const std::uint64_t rate = link.trace ? link.trace->rate(link.mtu + kHeader) : link.rate;
  return limit.value * double(rate) / 8 * std::chrono::duration<double>(longest).count();
}

Result<void> Network::add_routes() {
  for (const auto& [name, node] : nodes_) {
    for (const Port& port : node.ports) LKM_CHECK(add_routes(name, port));
  }
  for (const FlowSpec& flow : scenario_->flows) {
    if (path(flow.from, flow.to).empty())
      return fail(EINVAL, "there is no way from {} to {}", flow.from, flow.to);
  }
  return {};
}

// The node's routes that lead through this port.
Result<void> Network::add_routes(const std::string& name, const Port& port) {
  Node& node = nodes_[name];
  for (const auto& [family, gateway] : port.peer_addresses) {
    if (node.ports.size() == 1) LKM_CHECK(node.net->route_add({}, gateway));
  }
  if (node.ports.size() == 1) return {};
  const auto hops = first_hops(name);
  for (std::size_t link = 0; link < scenario_->links.size(); ++link) {
    if (std::ranges::count(node.ports, link, &Port::link) > 0) continue;
    const auto hop = hops.find(scenario_->links[link].a);
    if (hop == hops.end() || hop->second->link != port.link) continue;  // another port, or another network
    for (const auto& [family, gateway] : port.peer_addresses)
      LKM_CHECK(node.net->route_add(network_of(family, link), gateway));
  }
  return {};
}

const IpPrefix& Network::address(const std::string& node, IpFamily family) const {
  return nodes_.at(node).ports.front().addresses.at(family);
}

// -- while it runs -------------------------------------------------------------------------------------------------

Network::Port* Network::port_of(const std::string& node, std::size_t link) {
  return &*std::ranges::find(nodes_[node].ports, link, &Port::link);
}

Result<std::size_t> Network::find_link(const std::string& name) const {
  const auto link = std::ranges::find(scenario_->links, name, &LinkSpec::name);
  if (link == scenario_->links.end()) return fail(ENODEV, "link '{}'", name);
  return std::size_t(link - scenario_->links.begin());
}

unsigned Network::device(const std::string& link) const {
  const auto found = std::ranges::find(scenario_->links, link, &LinkSpec::name);
  const auto& ports = nodes_.at(found->a).ports;
  return std::ranges::find(ports, std::size_t(found - scenario_->links.begin()), &Port::link)->index;
}

Result<QdiscStats> Network::stats(const Queue& queue) {
  return nodes_[queue.node].qdiscs->stats(port_of(queue.node, queue.link)->index, handle(kQueue));
}

std::uint64_t Network::rate(const Queue& queue, nanoseconds from, nanoseconds to) const {
  if (queue.trace == nullptr || to <= from) return queue.rate;
  const auto packets = queue.trace->count_before(to) - queue.trace->count_before(from);
  const double bits = double(packets) * 8 * (scenario_->links[queue.link].mtu + kHeader);
  return std::uint64_t(bits / std::chrono::duration<double>(to - from).count());
}

nanoseconds Network::wait(const Queue& queue, std::uint64_t bytes, nanoseconds at) const {
  if (bytes == 0 || queue.rate == 0) return 0ns;
  if (queue.trace == nullptr) return nanoseconds(std::int64_t(double(bytes) * 8e9 / double(queue.rate)));
  const std::uint64_t frame = scenario_->links[queue.link].mtu + kHeader;
  const std::uint64_t gone = queue.trace->count_before(at + 1ns);
  return queue.trace->time_of(gone + (bytes + frame - 1) / frame - 1) - at;
}

Gate::Place Network::gate_place(const Queue& queue, const Port& port) const {
  return {.link = port.index,
          .root = queue.root,
          .bucket = queue.bucket,
          .queue = kQueue,
          .packet = scenario_->links[queue.link].mtu + kHeader,
          .queue_limit = std::uint32_t(std::max(queue.limit_bytes, queue.limit_packets))};
}

Result<Gate> Network::gate(const Queue& queue) {
  LKM_TRY(Qdiscs qdiscs, Qdiscs::open(*stack_, queue.node));
  return Gate(std::move(qdiscs), gate_place(queue, *port_of(queue.node, queue.link)));
}

Result<void> Network::set_rate(const std::string& name, std::uint64_t rate) {
  LKM_TRY(const std::size_t index, find_link(name));
  const LinkSpec& link = scenario_->links[index];
  for (Queue& queue : queues_) {
    if (queue.link != index) continue;
    const auto limit = std::uint32_t(std::max(queue.limit_bytes, queue.limit_packets));
    const Qdiscs::Place place{port_of(queue.node, index)->index, 0, handle(queue.bucket)};
    LKM_CHECK(nodes_[queue.node].qdiscs->change(
        place, "tbf", [&](nlmsghdr* message) { put_tbf(message, rate, link.mtu + kHeader, limit); }));
    queue.rate = rate;
  }
  return {};
}

Result<void> Network::set_up(const std::string& name, bool up) {
  LKM_TRY(const std::size_t index, find_link(name));
  const LinkSpec& link = scenario_->links[index];
  Port& port = *port_of(link.a, index);
  if (!up) return nodes_[link.a].net->link_down(port.device);
  LKM_CHECK(nodes_[link.a].net->link_up(port.device));
  if (port.upper != port.device) return {};  // which had lost its carrier only
  // With the device the kernel has taken down what led through it; the other end has lost its carrier only.
  for (const auto& [family, address] : port.peer_addresses)
    LKM_CHECK(nodes_[link.a].net->neighbour_add(port.device, address, port.peer_mac));
  return add_routes(link.a, port);
}

}  // namespace lkm::lab
