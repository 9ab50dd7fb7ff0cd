// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/run.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <limits>
#include <map>

#include "libos-runtime/host/clock.hpp"
#include "toolkit/lab/network.hpp"
#include "toolkit/lab/opportunities.hpp"
#include "toolkit/lab/sojourn.hpp"
#include "toolkit/lab/traffic.hpp"
#include "toolkit/lab/variables.hpp"
#include "toolkit/net/capture.hpp"
#include "toolkit/net/units.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kSamplesBetweenProgress = 64;
/// Of a captured packet: Ethernet, IPv4 and TCP with all options are 134 bytes at most.
constexpr std::size_t kHeaders = 128;
constexpr int kCaptureRoom = 64 << 20;
constexpr nanoseconds kDrain = 100ms;  // between two looks at a capture, at most
constexpr std::uint64_t kNoPacing = UINT64_MAX;

FlowSample sample_of(const LiveFlow& flow, bool tcp) {
  FlowSample sample;
  sample.bytes_received = flow.bytes_received;
  if (!flow.socket || !tcp) return sample;
  tcp_info info{};
  socklen_t length = sizeof info;
  if (flow.socket.call(SYS_getsockopt, IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return sample;
  sample.connected = true;
  sample.cwnd = info.tcpi_snd_cwnd;
  sample.ssthresh = info.tcpi_snd_ssthresh;
  sample.mss = info.tcpi_snd_mss;
  sample.srtt_us = info.tcpi_rtt;
  sample.min_rtt_us = info.tcpi_min_rtt == UINT32_MAX ? 0 : info.tcpi_min_rtt;
  // As tcp_packets_in_flight() of net/tcp.h has it.
  sample.in_flight = info.tcpi_unacked + info.tcpi_retrans - std::min(info.tcpi_unacked, info.tcpi_sacked + info.tcpi_lost);
  sample.pacing_rate = info.tcpi_pacing_rate == kNoPacing ? 0 : info.tcpi_pacing_rate * 8;
  sample.delivery_rate = info.tcpi_delivery_rate * 8;
  sample.retransmits = info.tcpi_total_retrans;
  sample.segments_out = info.tcpi_segs_out;
  sample.delivered_ce = info.tcpi_delivered_ce;
  return sample;
}

/// By source, in the order in which they are loaded.
using Plugins = std::map<std::string, std::vector<std::string>>;

/// One run, on the stack's main fiber.
class Run {
 public:
  Run(Stack& stack, const Scenario& scenario, const RunOptions& options,
      const Plugins& plugins)
      : stack_(stack), scenario_(scenario), options_(options), plugins_(plugins) {}

  Result<RunResult> go();

 private:
  Result<void> load();
  void prepare();
  Result<void> advance_to(nanoseconds at);
  Result<void> drain_until(nanoseconds at);
  Result<void> sample();
  void sample_variables(const LiveFlow& live, FlowSeries& series);
  void apply(const EventSpec& event);
  Result<std::string> swap(const std::string& source);

  Stack& stack_;
  const Scenario& scenario_;
  const RunOptions& options_;
  const Plugins& plugins_;
  std::optional<Network> network_;
  std::optional<Traffic> traffic_;
  std::unique_ptr<Opportunities> opportunities_;
  std::unique_ptr<Sojourns> sojourns_;
  Variables variables_{stack_};
  std::map<std::string, std::unique_ptr<Capture>> captures_;  // by link
  std::vector<EventSpec> events_;  // by time
  std::size_t next_event_ = 0;
  RunResult result_;
};

Result<RunResult> Run::go() {
  result_.kernel = stack_.release();
  result_.in_real_time = stack_.options().clock == Clock::kReal;
  LKM_CHECK(load());
  LKM_TRY(network_, Network::build(stack_, scenario_));
  events_ = scenario_.events;
  std::ranges::stable_sort(events_, {}, &EventSpec::at);

  for (const LinkSpec& link : scenario_.links) {
    if (!options_.capture || !link.has_queue()) continue;
    LKM_TRY(captures_[link.name()], Capture::start(stack_, link.a, network_->device(link.name()), kHeaders, kCaptureRoom));
  }
  const std::uint64_t began_ns = host_ns();
  traffic_.emplace(stack_, *network_, scenario_);
  LKM_CHECK(traffic_->start());
  LKM_TRY(sojourns_, Sojourns::start(stack_, scenario_, *network_));
  LKM_TRY(opportunities_, Opportunities::start(stack_, *network_, traffic_->began()));
  prepare();
  LKM_CHECK(sample());
  for (nanoseconds at = scenario_.sample; at <= scenario_.duration; at += scenario_.sample) {
    LKM_CHECK(drain_until(at));
    LKM_CHECK(advance_to(at));
    LKM_CHECK(sample());
    if (result_.times.size() % kSamplesBetweenProgress == 0 && options_.progress && !options_.progress(at))
      return fail(ECANCELED, "run of '{}'", scenario_.title);
  }
  result_.wall = nanoseconds(host_ns() - began_ns);
  for (auto& [link, capture] : captures_) result_.captures[link] = capture->take();
  for (std::size_t i = 0; i < result_.queues.size(); ++i) result_.queues[i].sojourns = sojourns_->all(i);
  traffic_->stop();
  LKM_CHECK(opportunities_->outcome());
  opportunities_.reset();
  for (std::size_t i = 0; i < result_.flows.size(); ++i) {
    const LiveFlow& live = *traffic_->flows()[i];
    FlowSeries& series = result_.flows[i];
    series.latencies = live.latencies;
    series.bytes_sent = live.bytes_sent;
    series.datagrams_sent = live.datagrams_sent;
    series.datagrams_received = live.datagrams_received;
    series.failures = live.failures;
    series.error = live.error;
  }
  traffic_.reset();
  sojourns_.reset();
  return std::move(result_);
}

Result<void> Run::load() {
  for (const ModuleSpec& module : scenario_.modules) {
    const auto& plugins = plugins_.at(module.source);
    for (const std::string& plugin : plugins) {
      // Parameters are for the last: the others are there because it depends on them.
      LKM_TRY(const ModuleInfo info, stack_.load(plugin, &plugin == &plugins.back() ? module.parameters : ""));
      result_.modules.push_back(fmt::format("{}@{} {}", info.name, info.generation, info.build_id));
    }
  }
  // A control that is no module of the scenario may be one of the kernel's tree: "bbr" is tcp_bbr there.
  LKM_TRY(const std::string there, stack_.sysctl("net.ipv4.tcp_available_congestion_control"));
  for (const FlowSpec& flow : scenario_.flows) {
    if (flow.control.empty() || (" " + there + " ").find(" " + flow.control + " ") != std::string::npos) continue;
    // Loaded already, or none of the kernel's: the flow's socket tells.
    (void)stack_.load("tcp_" + flow.control);
  }
  return variables_.learn();
}

void Run::prepare() {
  for (const auto& live : traffic_->flows()) {
    result_.flows.push_back({.name = live->name,
                             .control = live->spec->control,
                             .kind = live->spec->kind,
                             .start = live->start,
                             .stop = live->spec->stop != 0ns ? live->spec->stop : scenario_.duration,
                             .samples = {},
                             .variables = {},
                             .latencies = {},
                             .error = {}});
  }
  for (const Queue& queue : network_->queues()) {
    if (!scenario_.measure.queues) break;
    result_.queues.push_back({queue.name, queue.limit_bytes, queue.limit_packets, {}, {}});
  }
}

Result<void> Run::advance_to(nanoseconds at) {
  const auto sleep_until = [&](nanoseconds moment) {
    while (stack_.now() < traffic_->began() + moment) stack_.park(traffic_->began() + moment);
  };
  for (; next_event_ < events_.size() && events_[next_event_].at <= at; ++next_event_) {
    sleep_until(events_[next_event_].at);
    apply(events_[next_event_]);
  }
  sleep_until(at);
  return {};
}

/// From the last sample on, often enough for the room that the kernel has for events, and for what is captured: 0.1 s of
/// 1 Gbit/s need a third of that.
Result<void> Run::drain_until(nanoseconds at) {
  for (nanoseconds next = result_.times.back(); next < at;) {
    next = std::min(next + std::min(kDrain, sojourns_->interval()), at);
    LKM_CHECK(advance_to(next));
    LKM_CHECK(sojourns_->drain());
    for (auto& [link, capture] : captures_) {
      LKM_CHECK(capture->drain());
      if (capture->dropped() > 0) return fail(EIO, "capture: {} packets lost for want of room", capture->dropped());
    }
  }
  return {};
}

Result<void> Run::sample() {
  const nanoseconds now = stack_.now() - traffic_->began();
  const nanoseconds before = result_.times.empty() ? now : result_.times.back();
  result_.times.push_back(now);
  for (std::size_t i = 0; i < result_.flows.size(); ++i) {
    result_.flows[i].samples.push_back(sample_of(*traffic_->flows()[i], scenario_.measure.tcp));
    if (scenario_.measure.variables) sample_variables(*traffic_->flows()[i], result_.flows[i]);
  }
  for (std::size_t i = 0; i < result_.queues.size(); ++i) {
    const Queue& queue = network_->queues()[i];
    LKM_TRY(const QdiscStats stats, network_->stats(queue));
    const Sojourns::Part sojourns = sojourns_->take(i);
    result_.queues[i].samples.push_back({.bytes = stats.backlog_bytes,
                                         .packets = stats.backlog_packets,
                                         .drops = stats.drops,
                                         .marks = stats.marks,
                                         .sent_bytes = stats.bytes,
                                         .sent_packets = stats.packets,
                                         .rate = network_->rate(queue, before, now),
                                         .delay = network_->wait(queue, stats.backlog_bytes, now),
                                         .left = sojourns.packets,
                                         .sojourn_mean = sojourns.sum / std::max<std::int64_t>(1, std::int64_t(sojourns.packets)),
                                         .sojourn_longest = sojourns.longest});
  }
  return {};
}

void Run::sample_variables(const LiveFlow& live, FlowSeries& series) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const std::size_t samples = result_.times.size();
  for (Variables::Value& now : variables_.read(live)) {
    auto variable = std::ranges::find(series.variables, now.name, &VariableSeries::name);
    if (variable == series.variables.end())
      variable = series.variables.insert(variable, {std::move(now.name), std::vector(samples - 1, kNone)});
    variable->values.push_back(now.value);
  }
  for (VariableSeries& variable : series.variables) variable.values.resize(samples, kNone);
}

Result<std::string> Run::swap(const std::string& source) {
  std::string done;
  for (const std::string& plugin : plugins_.at(source)) {
    LKM_TRY(const SwapReport report, stack_.swap(plugin));
    done += fmt::format("{}swap {}@{} to {}", done.empty() ? "" : ", ", report.module, report.from_generation,
                        report.to_generation);
  }
  LKM_CHECK(variables_.learn());
  return done;
}

void Run::apply(const EventSpec& event) {
  EventResult done{.at = stack_.now() - traffic_->began(), .what = {}, .error = {}};
  Result<void> outcome;
  switch (event.kind) {
    case EventSpec::Kind::kSwap: {
      done.what = fmt::format("swap to {}", event.target);
      auto swapped = swap(event.target);
      if (swapped) done.what = *swapped;
      if (!swapped) outcome = Failure(std::move(swapped).error());
      break;
    }
    case EventSpec::Kind::kLinkDown:
    case EventSpec::Kind::kLinkUp: {
      const bool up = event.kind == EventSpec::Kind::kLinkUp;
      done.what = fmt::format("link {} {}", event.target, up ? "up" : "down");
      outcome = network_->set_up(event.target, up);
      break;
    }
    case EventSpec::Kind::kRate:
      done.what = fmt::format("link {} at {}", event.target, format_rate(double(event.rate)));
      outcome = network_->set_rate(event.target, event.rate);
      break;
  }
  if (!outcome) done.error = outcome.error().message();
  result_.events.push_back(std::move(done));
}

}  // namespace

Result<RunResult> run(const Scenario& scenario, const RunOptions& options) {
  LKM_CHECK(check(scenario));
  Plugins plugins;
  const auto find = [&](const std::string& source) -> Result<void> {
    if (plugins.contains(source)) return {};
    plugins[source] = {source};
    if (!options.plugins_of) return {};
    LKM_TRY(plugins[source], options.plugins_of(source));
    return {};
  };
  for (const ModuleSpec& module : scenario.modules) LKM_CHECK(find(module.source));
  for (const EventSpec& event : scenario.events) {
    if (event.kind == EventSpec::Kind::kSwap) LKM_CHECK(find(event.target));
  }
  Result<RunResult> result = fail(ECANCELED, "run of '{}'", scenario.title);
  LKM_CHECK(Stack::run({.library = options.image / "libos.so",
                        .module_path = {options.image / "modules"},
                        .memory = options.memory,
                        .clock = options.clock,
                        .seed = scenario.seed,
                        .cmdline = kVariablesCmdline,
                        .console = options.console},
                       [&](Stack& stack) {
                         result = Run(stack, scenario, options, plugins).go();
                         return 0;
                       }));
  return result;
}

}  // namespace lkm::lab
