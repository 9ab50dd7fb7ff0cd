// SPDX-License-Identifier: GPL-2.0
//
// The lab: how fast simulated time passes. No peer is measured here; docs/lab.md has what is known of others.
#include "bench/parts.hpp"
#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/run.hpp"

namespace lkm::bench {
namespace {

using namespace std::chrono_literals;

Result<Rows> dumbbell(const Options& options, std::uint64_t mbit, unsigned flows) {
  const auto duration = mbit >= 1000 ? 3s : 30s;
  LKM_TRY(const auto run, lab::run(lab::dumbbell({.flows = flows, .rate = mbit * 1'000'000, .duration = duration}),
                                   {.image = options.image}));
  double packets = 0;
  for (const auto& queue : run.queues) packets += double(queue.samples.back().sent_packets);
  const double wall = std::chrono::duration<double>(run.wall).count();
  const std::string what = fmt::format("lab, {} Mbit/s dumbbell, {} flow{}", mbit, flows, flows == 1 ? "" : "s");
  return Rows{{.name = what + ", a second of it", .unit = "ms", .ours = wall * 1e3 / double(duration.count()), .peer = {}},
              {.name = what + ", packets through the bottleneck", .unit = "1/s", .ours = packets / wall, .peer = {}}};
}

}  // namespace

Result<Rows> lab_10_part(const Options& options) { return dumbbell(options, 10, 1); }
Result<Rows> lab_100_part(const Options& options) { return dumbbell(options, 100, 1); }
Result<Rows> lab_1000_part(const Options& options) { return dumbbell(options, 1000, 1); }
Result<Rows> lab_flows_part(const Options& options) { return dumbbell(options, 100, 100); }

}  // namespace lkm::bench
