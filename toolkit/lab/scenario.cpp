// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/scenario.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "toolkit/net/units.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

/// An error at that place of a file, if there is one.
template <typename... Args>
Failure refuse(const std::string& where, fmt::format_string<Args...> format, Args&&... args) {
  const std::string what = fmt::format(format, std::forward<Args>(args)...);
  return Failure(Error({}, where.empty() ? what : fmt::format("{}: {}", where, what)));
}

Result<void> check(const LinkSpec& link) {
  if (link.a.empty() || link.b.empty()) return refuse(link.where, "a link needs both ends");
  if (link.a == link.b) return refuse(link.where, "link from '{}' to itself", link.a);
  if (link.mtu < 576 || link.mtu > 65521)
    return refuse(link.where, "link {}: mtu {} is not between 576 and 65521", link.name(), link.mtu);
  if (link.rate > 0 && link.trace) return refuse(link.where, "link {}: it has a rate and a trace", link.name());
  if (bool(link.trace) != bool(link.trace_back))
    return refuse(link.where, "link {}: it has a trace in one direction only", link.name());
  if (!link.has_queue() && (!link.qdisc.empty() || link.limit.value > 0))
    return refuse(link.where, "link {}: a queue needs a rate or a trace to wait for", link.name());
  if (link.mark_at.value > 0 && link.qdisc != "red")
    return refuse(link.where, "link {}: mark_at is for the qdisc red", link.name());
  if (link.reorder > 0 && link.delay == 0ns)
    return refuse(link.where, "link {}: reordering needs a delay that packets can skip", link.name());
  return {};
}

Result<void> check(const FlowSpec& flow, const Scenario& scenario) {
  const auto refuse = [&](std::string_view why) {
    return lab::refuse(flow.where, "flow from {} to {}: {}", flow.from, flow.to, why);
  };
  if (flow.from == flow.to) return refuse("both ends are one node");
  if (flow.count == 0 || flow.count > 10'000) return refuse("the count is not between 1 and 10000");
  if (flow.start >= scenario.duration) return refuse("it starts after the end of the run");
  if (flow.stop != 0ns && flow.stop <= flow.start) return refuse("it stops before it starts");
  if (flow.kind == FlowKind::kOnOff && (flow.on <= 0ns || flow.off <= 0ns)) return refuse("it needs on and off");
  if (flow.kind == FlowKind::kReplay && !flow.replay) return refuse("it needs a file with its messages");
  if (flow.kind == FlowKind::kPoisson && (flow.arrivals <= 0 || flow.bytes == 0))
    return refuse("it needs arrivals and bytes");
  if (flow.kind == FlowKind::kUdp && (flow.rate == 0 || flow.datagram == 0 || flow.datagram > 65507))
    return refuse("it needs a rate, and datagrams of 1 to 65507 bytes");
  if (flow.kind == FlowKind::kUdp && !flow.control.empty()) return refuse("UDP has no congestion control");
  return {};
}

}  // namespace

Result<Limit> parse_limit(std::string_view text) {
  const auto unit = text.find_first_not_of("0123456789.");
  const auto bad = [&] {
    return fail_hint(EINVAL, "give a unit: 100pkt, 64KiB, 1.5bdp", "'{}' is no limit of a queue", text);
  };
  if (unit == 0 || unit == std::string_view::npos) return bad();
  const std::string_view name = text.substr(unit);
  Limit limit;
  const auto number = text.substr(0, unit);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), limit.value);
  if (error != std::errc() || end != number.data() + number.size() || !(limit.value > 0)) return bad();
  if (name == "bdp") {
    limit.unit = Limit::Unit::kBdp;
  } else if (name == "pkt") {
    limit.unit = Limit::Unit::kPackets;
    if (limit.value != std::floor(limit.value) || limit.value > 1e9) return bad();
  } else {
    const auto size = parse_size(text);
    if (!size || *size == 0) return bad();
    limit = {double(*size), Limit::Unit::kBytes};
  }
  return limit;
}

std::string format_limit(const Limit& limit) {
  switch (limit.unit) {
    case Limit::Unit::kPackets:
      return fmt::format("{:.0f}pkt", limit.value);
    case Limit::Unit::kBytes:
      return fmt::format("{:.0f}B", limit.value);
    case Limit::Unit::kBdp:
      return fmt::format("{}bdp", limit.value);
  }
  return {};
}

Result<void> check(const Scenario& scenario) {
  if (scenario.duration <= 0ns || scenario.duration > 24h)
    return refuse("", "a run of {} is not between 0 and 24h", format_duration(scenario.duration));
  if (scenario.sample < 100us || scenario.sample > scenario.duration)
    return refuse("", "samples every {} are not between 100us and the run's length", format_duration(scenario.sample));
  if (scenario.links.empty()) return refuse("", "there are no links");
  if (scenario.flows.empty()) return refuse("", "there are no flows");
  std::set<std::string> nodes, links;
  for (const auto& link : scenario.links) {
    LKM_CHECK(check(link));
    nodes.insert(link.a);
    nodes.insert(link.b);
    if (!links.insert(link.name()).second) return refuse(link.where, "there are two links {}", link.name());
  }
  for (const auto& flow : scenario.flows) {
    for (const auto& node : {flow.from, flow.to}) {
      if (!nodes.contains(node)) return refuse(flow.where, "no link has a node '{}'", node);
    }
    LKM_CHECK(check(flow, scenario));
  }
  for (const auto& event : scenario.events) {
    if (event.at < 0ns || event.at >= scenario.duration)
      return refuse(event.where, "the event at {} is outside of the run", format_duration(event.at));
    if (event.kind == EventSpec::Kind::kSwap) continue;
    const auto link = std::ranges::find(scenario.links, event.target, &LinkSpec::name);
    if (link == scenario.links.end())
      return refuse(event.where, "the event at {}: there is no link '{}'", format_duration(event.at), event.target);
    if (event.kind == EventSpec::Kind::kRate && (link->rate == 0 || event.rate == 0))
      return refuse(event.where, "the event at {}: link {} has no rate to change", format_duration(event.at), event.target);
  }
  return {};
}

}  // namespace lkm::lab
