// SPDX-License-Identifier: GPL-2.0
//
// The lab: how fast simulated time passes, against the same dumbbell in ns-3 with ns-3's own TCP.
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "bench/parts.hpp"
#include "toolkit/base/child.hpp"
#include "toolkit/lab/in_child.hpp"
#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/run.hpp"

namespace lkm::bench {
namespace {

using namespace std::chrono_literals;

struct Ns3Run {
  double wall, packets;  ///< seconds, and what left both ends of the bottleneck
};

/// The same in ns-3, on the same CPU. Nothing, where the benchmark was built without it.
Result<std::optional<Ns3Run>> ns3_dumbbell(std::uint64_t mbit, unsigned flows, std::chrono::seconds duration) {
  const auto program = std::filesystem::read_symlink("/proc/self/exe").replace_filename("lkm-bench-ns3");
  if (!std::filesystem::exists(program)) return std::nullopt;
  LKM_TRY(auto child, Child::spawn({.argv = {program, fmt::format("{}", mbit), fmt::format("{}", flows),
                                             fmt::format("{}", duration.count())},
                                    .out = Child::Output::kPipe}));
  LKM_TRY(const auto said, child.read_all());
  LKM_TRY(const auto status, child.wait());
  const auto answer = nlohmann::json::parse(said, nullptr, false);
  if (!status.success() || !answer.is_object()) return fail(EPROTO, "'{}' said '{}'", program.string(), said);
  return Ns3Run{answer["wall_s"], answer["packets"]};
}

Result<Rows> dumbbell(const Options& options, std::uint64_t mbit, unsigned flows) {
  const auto duration = mbit >= 1000 ? 3s : 30s;
  LKM_TRY(const auto run, lab::run(lab::dumbbell({.flows = flows, .rate = mbit * 1'000'000, .duration = duration}),
                                   {.image = options.image}));
  LKM_TRY(const auto peer, ns3_dumbbell(mbit, flows, duration));
  double packets = 0;
  for (const auto& queue : run.queues) packets += double(queue.samples.back().sent_packets);
  const double wall = std::chrono::duration<double>(run.wall).count();
  const std::string what = fmt::format("lab, {} Mbit/s dumbbell, {} flow{}", mbit, flows, flows == 1 ? "" : "s");
  Row time{.name = what + ", a second of it", .unit = "ms", .ours = wall * 1e3 / double(duration.count()), .peer = {}};
  Row rate{.name = what + ", packets through the bottleneck, one by one", .unit = "1/s", .ours = packets / wall, .peer = {}};
  if (peer) {
    time.peer = rate.peer = "ns-3";
    time.theirs = peer->wall * 1e3 / double(duration.count());
    rate.theirs = peer->packets / peer->wall;
    rate.floor = Floor{Floor::Of::kRatioAtLeast, 5};
  }
  return Rows{time, rate};
}

/// Time for a packet among so many flows, ns: the fastest of the rounds, as of the other rows of the lab. In a child, which has
/// the same CPU: a process has one stack.
Result<double> packet_ns(const Options& options, unsigned flows, std::uint64_t mbit) {
  double fastest = std::numeric_limits<double>::max();
  for (std::size_t round = 0; round < options.rounds; ++round) {
    LKM_TRY(const auto run, lab::run_in_child(lab::dumbbell({.flows = flows,
                                                             .rate = mbit * 1'000'000,
                                                             .buffer = {2, lab::Limit::Unit::kBdp},
                                                             .duration = mbit >= 1000 ? 3s : 10s}),
                                              {.image = options.image}));
    double packets = 0;
    for (const auto& queue : run.queues) packets += double(queue.samples.back().sent_packets);
    fastest = std::min(fastest, double(run.wall.count()) / packets);
  }
  return fastest;
}

}  // namespace

Result<Rows> lab_growth_part(const Options& options) {
  Rows rows;
  const auto add = [&](std::string name, double ours, std::string peer, double theirs, double most) {
    rows.push_back({.name = std::move(name),
                    .unit = "ns",
                    .ours = ours,
                    .peer = std::move(peer),
                    .theirs = theirs,
                    .floor = Floor{Floor::Of::kRatioAtMost, most}});
  };
  // The network grows with the flows, and its queue beyond the caches.
  LKM_TRY(const double ten, packet_ns(options, 10, 10));
  for (const unsigned flows : {100U, 1000U}) {
    LKM_TRY(const double time, packet_ns(options, flows, flows));
    add(fmt::format("lab, a packet among {} flows of 1 Mbit/s each", flows), time, "10 flows", ten, 2);
  }
  // It does not: so many flows need more of the caches, and lose more packets, which are not counted.
  LKM_TRY(const double one, packet_ns(options, 1, 100));
  for (const auto& [flows, most] : {std::pair{10U, 1.5}, {100U, 2.0}, {1000U, 3.0}}) {
    LKM_TRY(const double time, packet_ns(options, flows, 100));
    add(fmt::format("lab, a packet among {} flows that share 100 Mbit/s", flows), time, "1 flow", one, most);
  }
  return rows;
}

Result<Rows> lab_save_part(const Options& options) {
  // A compiler, a run and a browser: as on a developer's machine.
  cpu_set_t every;
  std::memset(&every, 0xff, sizeof every);
  if (::sched_setaffinity(0, sizeof every, &every) != 0) return fail(errno, "use all CPUs");
  const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "tools/lkm-run/lkm-run";
  auto child = Child::spawn({.argv = {"python3", options.source / "bench/save_to_plot.py", program,
                                      fmt::format("{}", options.rounds)},
                             .environment = {{"LKM_RUN_IMAGE", options.image.string()}},
                             .out = Child::Output::kPipe});
  if (!child) return Failure(std::move(child).error());
  LKM_TRY(const auto said, child->read_all());
  LKM_TRY(const auto status, child->wait());
  const auto answer = nlohmann::json::parse(said, nullptr, false);
  if (!status.success() || !answer.is_object()) return fail(EPROTO, "bench/save_to_plot.py said '{}'", said);
  return Rows{{.name = "lab, from a save to the new plot in the browser (60 s of 50 Mbit/s)",
               .unit = "ms",
               .ours = median(answer["save_to_plot_ms"].get<std::vector<double>>()),
               .peer = {},
               .floor = Floor{Floor::Of::kOursAtMost, 1500}}};
}

Result<Rows> lab_10_part(const Options& options) { return dumbbell(options, 10, 1); }
Result<Rows> lab_100_part(const Options& options) { return dumbbell(options, 100, 1); }
Result<Rows> lab_1000_part(const Options& options) { return dumbbell(options, 1000, 1); }
Result<Rows> lab_flows_part(const Options& options) { return dumbbell(options, 100, 100); }

}  // namespace lkm::bench
