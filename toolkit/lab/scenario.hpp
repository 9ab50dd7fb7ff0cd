// SPDX-License-Identifier: GPL-2.0
//
// Scenario: an experiment as data. What is on the network, who sends what to whom, what happens when,
// and from which seed; a run of it in virtual time is a function of it (run.hpp).
//
// Scenarios are read from TOML (scenario_toml.hpp) or made by a generator (presets.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/lab/replay.hpp"
#include "toolkit/lab/trace.hpp"
#include "toolkit/net/ip.hpp"

namespace lkm::lab {

using std::chrono::nanoseconds;

/// How much may wait in a queue.
struct Limit {
  enum class Unit { kPackets, kBytes, kBdp };
  double value = 0;  ///< 0: as the qdisc has it by default
  Unit unit = Unit::kPackets;
};

/// "100pkt", "64KiB", "1.5bdp". BDP is the link's rate times the round-trip time, without queues, of the longest
/// path of a flow across it.
Result<Limit> parse_limit(std::string_view text);
std::string format_limit(const Limit& limit);

/// A link between two nodes: the same in both directions.
struct LinkSpec {
  std::string a, b;
  std::uint64_t rate = 0;  ///< bit/s of Ethernet frames without FCS; 0: no limit
  /// In place of a rate: when full packets may pass from a to b, and from b to a. Both or none.
  std::shared_ptr<const Trace> trace, trace_back;
  nanoseconds delay{};     ///< one way
  nanoseconds jitter{};    ///< the delay varies by so much in both directions
  double loss = 0;         ///< share of packets that is lost, in each direction
  double reorder = 0;      ///< share of packets that skips the delay
  std::string qdisc;       ///< that waits for the rate; "" is pfifo, or bfifo for a limit in bytes or BDP
  Limit limit;             ///< of that qdisc
  bool ecn = false;        ///< codel, fq_codel, pie, red: mark packets that are capable of ECN
  Limit mark_at;           ///< red: mark whatever comes while more than this waits (a step, as DCTCP wants it)
  unsigned mtu = 1500;
  std::string where;  ///< "file:line", for complaints; may be empty

  [[nodiscard]] std::string name() const { return a + "-" + b; }
  /// Whether packets are delayed, lost or reordered on it.
  [[nodiscard]] bool needs_path() const { return delay.count() > 0 || jitter.count() > 0 || loss > 0 || reorder > 0; }
  /// Whether the delay is another one for each packet.
  [[nodiscard]] bool varies() const { return jitter.count() > 0 || reorder > 0; }
  [[nodiscard]] bool has_queue() const { return rate > 0 || trace != nullptr; }
};

/// What is sent. kBulk: as much as the path takes. kRequests: a request, its response, a pause, and again. kOnOff:
/// bulk for `on`, silence for `off`. kPoisson: transfers of `bytes` on connections of their own, which arrive at
/// `arrivals` a second. kUdp: datagrams at a constant rate. kReplay: messages at their times, on one connection.
enum class FlowKind { kBulk, kRequests, kOnOff, kPoisson, kUdp, kReplay };

struct FlowSpec {
  enum class Sizes { kFixed, kExponential, kPareto };

  std::string name;  ///< "" is the congestion control's name; with a count, "name-1" and so on
  FlowKind kind = FlowKind::kBulk;
  std::string from, to;  ///< nodes; `from` sends
  IpFamily ip = IpFamily::kV4;
  std::string control;   ///< congestion control; "" is the kernel's default
  unsigned count = 1;
  nanoseconds start{};
  nanoseconds stagger{};  ///< between the starts of two of the count
  nanoseconds stop{};     ///< 0: the end of the run
  std::uint64_t bytes = 0;  ///< kBulk: how many, 0 for no limit; kPoisson: the mean of a transfer
  std::uint64_t request_bytes = 64, response_bytes = 64;
  nanoseconds interval{};          ///< kRequests: pause after each response
  nanoseconds on{}, off{};         ///< kOnOff
  double arrivals = 0;             ///< kPoisson: a second
  Sizes sizes = Sizes::kExponential;  ///< kPoisson; Pareto has the shape 1.5
  std::uint64_t rate = 0;          ///< kUdp: bit/s of payload
  std::uint64_t datagram = 1200;   ///< kUdp: bytes of payload
  std::shared_ptr<const Replay> replay;  ///< kReplay
  std::string where;               ///< as of LinkSpec
};

struct ModuleSpec {
  std::string source;  ///< name of an in-tree module, folder, or file, as `lkm-run load` takes it
  std::string parameters;
};

struct EventSpec {
  enum class Kind { kSwap, kLinkDown, kLinkUp, kRate };
  nanoseconds at{};
  Kind kind = Kind::kRate;
  std::string target;      ///< kSwap: folder or file of the new build; else a link, "a-b"
  std::uint64_t rate = 0;  ///< kRate
  std::string where;       ///< as of LinkSpec
};

/// What is sampled of a run. Without a part of it its columns are empty, and what the summary would have of it.
struct Measure {
  bool tcp = true;        ///< TCP_INFO of each flow
  bool queues = true;     ///< length, drops, marks of each queue; without it none is reported at all
  bool sojourns = true;   ///< of each packet in the queues
  bool variables = true;  ///< of the flows' congestion controls

  bool operator==(const Measure&) const = default;
};

struct Scenario {
  std::string title;
  std::uint64_t seed = 1;
  nanoseconds duration = std::chrono::seconds(60);
  nanoseconds sample = std::chrono::milliseconds(100);  ///< interval of the measures
  Measure measure;
  std::vector<LinkSpec> links;
  std::vector<FlowSpec> flows;
  std::map<std::string, std::string> sysctls;  ///< of every node, by dotted name
  std::vector<ModuleSpec> modules;
  std::vector<EventSpec> events;
};

/// Whether it can be run: names that exist, quantities that make sense. The error has no code, and says where it is.
Result<void> check(const Scenario& scenario);

}  // namespace lkm::lab
