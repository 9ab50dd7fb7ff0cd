// SPDX-License-Identifier: GPL-2.0
//
// A run of a scenario: builds its network in a fresh stack, runs its traffic and events, and measures.
//
// Between two samples nothing of the measuring is on the network, and in virtual time it takes no time: what is read
// is what the kernel has at that moment. So a run with the same kernel, modules and scenario is the same, byte for
// byte (docs/adr/0013-virtual-time.md).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/lab/scenario.hpp"
#include "toolkit/lab/times.hpp"

namespace lkm::lab {

/// A flow at a moment: tcp_info of its sender (Linux uapi/linux/tcp.h), and what has arrived. Without a connection the
/// TCP part is zero.
struct FlowSample {
  std::uint32_t cwnd = 0, ssthresh = 0;  ///< segments; ssthresh 2^31-1: not yet known
  std::uint32_t mss = 0;                 ///< bytes
  std::uint32_t srtt_us = 0, min_rtt_us = 0;
  std::uint32_t in_flight = 0;            ///< segments: sent, and neither acknowledged nor taken for lost
  std::uint64_t pacing_rate = 0;         ///< bit/s; 0: none
  std::uint64_t delivery_rate = 0;       ///< bit/s, as TCP estimates it
  std::uint64_t retransmits = 0;         ///< segments so far
  std::uint64_t segments_out = 0;        ///< so far
  std::uint64_t delivered_ce = 0;        ///< segments acknowledged with ECN marks so far
  std::uint64_t bytes_received = 0;      ///< by the receiver's program so far
  bool connected = false;
};

struct QueueSample {
  std::uint64_t bytes = 0, packets = 0;  ///< waiting
  std::uint64_t drops = 0, marks = 0;    ///< so far
  std::uint64_t sent_bytes = 0, sent_packets = 0;  ///< so far
  std::uint64_t rate = 0;                ///< bit/s at that moment; of a trace, since the last sample
  nanoseconds delay{};                   ///< how long the last one in the queue will wait, if it leaves in order
  std::uint64_t left = 0;                ///< packets that have left since the last sample; 0 when they were not measured
  nanoseconds sojourn_mean{}, sojourn_longest{};  ///< of these: from coming to leaving
};

/// A member of the private state of a flow's congestion control, see variables.hpp.
struct VariableSeries {
  std::string name;            ///< "mycc.losses": of struct mycc
  std::vector<double> values;  ///< one a sample; not a number while the flow has no such variable
};

struct FlowSeries {
  std::string name;
  std::string control;
  FlowKind kind = FlowKind::kBulk;
  nanoseconds start{}, stop{};
  std::vector<FlowSample> samples;
  std::vector<VariableSeries> variables;
  std::vector<nanoseconds> latencies;  ///< see LiveFlow
  std::uint64_t bytes_sent = 0, datagrams_sent = 0, datagrams_received = 0;
  std::uint64_t failures = 0;
  std::string error;
};

struct QueueSeries {
  std::string name;
  std::uint64_t limit_bytes = 0, limit_packets = 0;
  std::vector<QueueSample> samples;
  Times sojourns;  ///< of all packets that have left; none when they were not measured
};

/// What an event did, or why it could not.
struct EventResult {
  nanoseconds at{};
  std::string what;   ///< "swap mycc@1 to mycc@2"
  std::string error;
};

struct RunResult {
  std::string kernel;              ///< "6.12.117"
  bool in_real_time = false;
  std::vector<std::string> modules;  ///< "mycc@1 (build id)"
  std::vector<nanoseconds> times;  ///< of the samples, from the start of the run
  std::vector<FlowSeries> flows;
  std::vector<QueueSeries> queues;
  std::vector<EventResult> events;
  std::map<std::string, std::string> captures;  ///< pcap files, by link
  nanoseconds wall{};  ///< of the host, for the run without boot
};

struct RunOptions {
  std::filesystem::path image;  ///< the library kernel's folder
  Clock clock = Clock::kVirtual;
  std::size_t memory = std::size_t{1} << 30;  ///< of the kernel; what is not used costs nothing
  /// From ModuleSpec::source and EventSpec::target to what Stack::load() takes: names of in-tree modules, or plugin
  /// files, those that others depend on first. Called before the stack boots. Empty: they are that already.
  std::function<Result<std::vector<std::string>>(const std::string&)> plugins_of;
  bool capture = false;  ///< all packets' headers, on each link that has a rate, at its end `a`
  std::function<void(std::string_view)> console;  ///< kernel log
  /// Called now and then with how much of the run is done; returning false ends it with ECANCELED.
  std::function<bool(nanoseconds)> progress;
};

/// Boots a stack on the calling thread: one run a process. Errors: those of check(); of a module that does not load;
/// ECANCELED; a kernel panic.
Result<RunResult> run(const Scenario& scenario, const RunOptions& options);

}  // namespace lkm::lab
