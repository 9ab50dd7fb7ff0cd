// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/results.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "toolkit/base/file.hpp"

namespace lkm::lab {
namespace {

using Json = nlohmann::json;

constexpr std::uint32_t kNoThreshold = 0x7fffffff;  // TCP_INFINITE_SSTHRESH of net/tcp.h

double seconds(nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

using Out = std::back_insert_iterator<std::string>;

/// A column: its name, and its value at sample `i` ("" for none).
template <typename Series>
struct Column {
  const char* name;
  std::string (*value)(const RunResult&, const Series&, std::size_t i);
};

double goodput(const RunResult& run, const FlowSeries& flow, std::size_t i) {
  if (i == 0) return 0;
  return double(flow.samples[i].bytes_received - flow.samples[i - 1].bytes_received) * 8 /
         seconds(run.times[i] - run.times[i - 1]);
}

#define FLOW_COLUMN(column, expression)                                                       \
  Column<FlowSeries> {                                                                        \
    column, [](const RunResult& run, const FlowSeries& flow, std::size_t i) -> std::string {  \
      [[maybe_unused]] const FlowSample& at = flow.samples[i];                                \
      [[maybe_unused]] const RunResult& of = run;                                             \
      return expression;                                                                      \
    }                                                                                         \
  }
#define QUEUE_COLUMN(column, expression)                                                      \
  Column<QueueSeries> {                                                                       \
    column, [](const RunResult&, const QueueSeries& queue, std::size_t i) -> std::string {    \
      const QueueSample& at = queue.samples[i];                                               \
      return expression;                                                                      \
    }                                                                                         \
  }

const std::array kFlowColumns = {
    FLOW_COLUMN("cwnd_segments", fmt::format("{}", at.cwnd)),
    FLOW_COLUMN("ssthresh_segments",
                at.ssthresh == kNoThreshold || !at.connected ? "" : fmt::format("{}", at.ssthresh)),
    FLOW_COLUMN("mss_bytes", fmt::format("{}", at.mss)),
    FLOW_COLUMN("srtt_us", fmt::format("{}", at.srtt_us)),
    FLOW_COLUMN("min_rtt_us", fmt::format("{}", at.min_rtt_us)),
    FLOW_COLUMN("in_flight_segments", fmt::format("{}", at.in_flight)),
    FLOW_COLUMN("pacing_bit_s", fmt::format("{}", at.pacing_rate)),
    FLOW_COLUMN("delivery_bit_s", fmt::format("{}", at.delivery_rate)),
    FLOW_COLUMN("retransmits", fmt::format("{}", at.retransmits)),
    FLOW_COLUMN("segments_out", fmt::format("{}", at.segments_out)),
    FLOW_COLUMN("delivered_ce", fmt::format("{}", at.delivered_ce)),
    FLOW_COLUMN("bytes_received", fmt::format("{}", at.bytes_received)),
    FLOW_COLUMN("goodput_bit_s", fmt::format("{:.0f}", goodput(of, flow, i))),
};

const std::array kQueueColumns = {
    QUEUE_COLUMN("bytes", fmt::format("{}", at.bytes)),
    QUEUE_COLUMN("packets", fmt::format("{}", at.packets)),
    QUEUE_COLUMN("delay_us", fmt::format("{:.0f}", seconds(at.delay) * 1e6)),
    QUEUE_COLUMN("sojourn_mean_us", at.left == 0 ? "" : fmt::format("{:.3f}", seconds(at.sojourn_mean) * 1e6)),
    QUEUE_COLUMN("sojourn_longest_us", at.left == 0 ? "" : fmt::format("{:.3f}", seconds(at.sojourn_longest) * 1e6)),
    QUEUE_COLUMN("drops", fmt::format("{}", at.drops)),
    QUEUE_COLUMN("marks", fmt::format("{}", at.marks)),
    QUEUE_COLUMN("sent_bytes", fmt::format("{}", at.sent_bytes)),
    QUEUE_COLUMN("sent_packets", fmt::format("{}", at.sent_packets)),
    QUEUE_COLUMN("rate_bit_s", fmt::format("{}", at.rate)),
};

/// The variables that any flow has, in the order in which they came up.
std::vector<std::string> variables_of(const RunResult& run) {
  std::vector<std::string> names;
  for (const FlowSeries& flow : run.flows) {
    for (const VariableSeries& variable : flow.variables) {
      if (std::ranges::find(names, variable.name) == names.end()) names.push_back(variable.name);
    }
  }
  return names;
}
std::vector<std::string> variables_of(const FlowSeries& flow) {
  std::vector<std::string> names;
  for (const VariableSeries& variable : flow.variables) names.push_back(variable.name);
  return names;
}
std::vector<std::string> variables_of(const QueueSeries&) { return {}; }

/// "" for none at that sample.
std::string variable_at(const FlowSeries& flow, const std::string& name, std::size_t i) {
  const auto found = std::ranges::find(flow.variables, name, &VariableSeries::name);
  if (found == flow.variables.end() || std::isnan(found->values[i])) return "";
  return fmt::format("{:.0f}", found->values[i]);
}
std::string variable_at(const QueueSeries&, const std::string&, std::size_t) { return ""; }

template <typename Series, typename Columns>
std::string csv(const RunResult& run, const std::vector<Series>& all, const Columns& columns, const char* kind,
                const std::vector<std::string>& variables) {
  std::string text = fmt::format("time_s,{}", kind);
  for (const auto& column : columns) fmt::format_to(Out(text), ",{}", column.name);
  for (const auto& name : variables) fmt::format_to(Out(text), ",{}", name);
  text += '\n';
  for (std::size_t i = 0; i < run.times.size(); ++i) {
    for (const Series& series : all) {
      fmt::format_to(Out(text), "{:.6f},{}", seconds(run.times[i]), series.name);
      for (const auto& column : columns) fmt::format_to(Out(text), ",{}", column.value(run, series, i));
      for (const auto& name : variables) fmt::format_to(Out(text), ",{}", variable_at(series, name, i));
      text += '\n';
    }
  }
  return text;
}

template <typename Series, typename Columns>
void json_lines(std::string& text, const RunResult& run, const std::vector<Series>& all, const Columns& columns,
                const char* kind, std::size_t i) {
  for (const Series& series : all) {
    fmt::format_to(Out(text), R"({{"v":1,"{}":{},"time_s":{:.6f})", kind, Json(series.name).dump(),
                   seconds(run.times[i]));
    for (const auto& column : columns) {
      const std::string value = column.value(run, series, i);
      fmt::format_to(Out(text), R"(,"{}":{})", column.name, value.empty() ? "null" : value);
    }
    for (const auto& name : variables_of(series)) {
      const std::string value = variable_at(series, name, i);
      fmt::format_to(Out(text), R"(,"{}":{})", name, value.empty() ? "null" : value);
    }
    text += "}\n";
  }
}

template <typename Series, typename Columns>
std::optional<Difference> difference_at(const RunResult& one, const std::vector<Series>& all, const RunResult& other,
                                        const std::vector<Series>& others, const Columns& columns, std::size_t i) {
  for (std::size_t s = 0; s < std::min(all.size(), others.size()); ++s) {
    const auto compare = [&](const std::string& column, std::string a, std::string b) -> std::optional<Difference> {
      if (a == b) return std::nullopt;
      return Difference{one.times[i], all[s].name, column, std::move(a), std::move(b)};
    };
    for (const auto& column : columns) {
      if (auto found = compare(column.name, column.value(one, all[s], i), column.value(other, others[s], i))) return found;
    }
    for (const auto& name : variables_of(all[s])) {
      if (auto found = compare(name, variable_at(all[s], name, i), variable_at(others[s], name, i))) return found;
    }
  }
  return std::nullopt;
}

Json to_json(const Quantiles& quantiles) {
  return {{"p50", quantiles.p50}, {"p95", quantiles.p95}, {"p99", quantiles.p99}};
}

}  // namespace

std::string flows_csv(const RunResult& run) { return csv(run, run.flows, kFlowColumns, "flow", variables_of(run)); }

std::string queues_csv(const RunResult& run) { return csv(run, run.queues, kQueueColumns, "queue", {}); }

std::string samples_jsonl(const RunResult& run) {
  std::string text;
  for (std::size_t i = 0; i < run.times.size(); ++i) {
    json_lines(text, run, run.flows, kFlowColumns, "flow", i);
    json_lines(text, run, run.queues, kQueueColumns, "queue", i);
  }
  return text;
}

std::optional<Difference> first_difference(const RunResult& one, const RunResult& other) {
  for (std::size_t i = 0; i < std::min(one.times.size(), other.times.size()); ++i) {
    if (auto found = difference_at(one, one.flows, other, other.flows, kFlowColumns, i)) return found;
    if (auto found = difference_at(one, one.queues, other, other.queues, kQueueColumns, i)) return found;
  }
  return std::nullopt;
}

Json to_json(const Summary& summary) {
  Json flows = Json::array();
  for (const FlowSummary& flow : summary.flows) {
    Json one = {{"flow", flow.name},
                {"control", flow.control},
                {"goodput_bit_s", flow.goodput},
                {"steady_bit_s", flow.steady},
                {"retransmits", flow.retransmits},
                {"retransmitted", flow.retransmitted},
                {"srtt_ms", flow.srtt_ms},
                {"cwnd_segments", flow.cwnd}};
    if (flow.lost > 0) one["lost"] = flow.lost;
    if (flow.completed > 0) {
      one["completed"] = flow.completed;
      one["latency_ms"] = to_json(flow.latency_ms);
    }
    if (flow.failures > 0) {
      one["failures"] = flow.failures;
      one["error"] = flow.error;
    }
    flows.push_back(std::move(one));
  }
  Json queues = Json::array();
  for (const QueueSummary& queue : summary.queues) {
    queues.push_back({{"queue", queue.name},
                      {"utilisation", queue.utilisation},
                      {"delay_ms", to_json(queue.delay_ms)},
                      {"dropped", queue.dropped},
                      {"drop_share", queue.drops},
                      {"marked", queue.marked},
                      {"mark_share", queue.marks}});
  }
  Json out = {{"flows", std::move(flows)}, {"queues", std::move(queues)}};
  if (summary.fairness) out["fairness"] = *summary.fairness;
  if (summary.convergence) out["convergence_s"] = seconds(*summary.convergence);
  return out;
}

Json about_json(const RunResult& run, const Scenario& scenario) {
  Json events = Json::array();
  for (const EventResult& event : run.events) {
    Json one = {{"time_s", seconds(event.at)}, {"what", event.what}};
    if (!event.error.empty()) one["error"] = event.error;
    events.push_back(std::move(one));
  }
  return {{"title", scenario.title},
          {"kernel", run.kernel},
          {"clock", run.in_real_time ? "real" : "virtual"},
          {"modules", run.modules},
          {"seed", scenario.seed},
          {"duration_s", seconds(scenario.duration)},
          {"sample_s", seconds(scenario.sample)},
          {"events", std::move(events)}};
}

Result<void> write_results(const RunResult& run, const Scenario& scenario, const Summary& summary,
                           const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Failure(Error(error, fmt::format("make the folder '{}'", folder.string())));
  Json all = about_json(run, scenario);
  all["v"] = 1;
  all["summary"] = to_json(summary);
  LKM_CHECK(replace_file(folder / "flows.csv", flows_csv(run)));
  LKM_CHECK(replace_file(folder / "queues.csv", queues_csv(run)));
  LKM_CHECK(replace_file(folder / "samples.jsonl", samples_jsonl(run)));
  for (const auto& [link, file] : run.captures) LKM_CHECK(replace_file(folder / (link + ".pcap"), file));
  return replace_file(folder / "summary.json", all.dump(2) + "\n");
}

}  // namespace lkm::lab
