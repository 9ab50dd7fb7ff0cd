// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/presets.hpp"

#include "toolkit/net/units.hpp"

namespace lkm::lab {

Scenario dumbbell(const DumbbellOptions& options) {
  Scenario scenario;
  scenario.title = fmt::format("dumbbell, {}, {} round trip, {} of buffer", format_rate(double(options.rate)),
                               format_duration(options.rtt), format_limit(options.buffer));
  scenario.duration = options.duration;
  scenario.links.push_back({.a = "left", .b = "right", .rate = options.rate, .delay = options.rtt / 2,
                            .loss = options.loss, .qdisc = options.qdisc, .limit = options.buffer,
                            .ecn = options.ecn});
  if (options.ecn) scenario.sysctls["net.ipv4.tcp_ecn"] = "1";
  for (std::size_t i = 0; i < options.controls.size(); ++i) {
    const std::string sender = fmt::format("s{}", i + 1);
    const std::string receiver = fmt::format("r{}", i + 1);
    scenario.links.push_back({.a = sender, .b = "left"});
    scenario.links.push_back({.a = "right", .b = receiver});
    scenario.flows.push_back(
        {.from = sender, .to = receiver, .control = options.controls[i], .count = options.flows});
  }
  return scenario;
}

}  // namespace lkm::lab
