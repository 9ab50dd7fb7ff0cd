// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_output.hpp"

#include <algorithm>

#include "toolkit/base/file.hpp"
#include "toolkit/lab/report.hpp"
#include "toolkit/lab/scenario_toml.hpp"
#include "toolkit/net/units.hpp"

namespace lkm::cli {
namespace fs = std::filesystem;
namespace {

std::string share(double value) { return value > 0 ? fmt::format("{:.3g}%", value * 100) : "0"; }

}  // namespace

void show_lab_run(Terminal& terminal, const LabRun& run) {
  const auto& [scenario, result, summary, log] = run;
  terminal.line(fmt::format("{}: {} in {}", scenario.title, format_duration(scenario.duration),
                            format_duration(result.wall)));
  std::vector<std::vector<std::string>> flows = {
      {"FLOW", "GOODPUT", "2ND HALF", "RETRANSMITTED", "RTT", "CWND", "COMPLETED", "P50", "P99"}};
  for (const lab::FlowSummary& flow : summary.flows) {
    const bool timed = flow.completed > 0;
    flows.push_back({flow.name, format_rate(flow.goodput), format_rate(flow.steady),
                     share(std::max(flow.retransmitted, flow.lost)), fmt::format("{:.1f}ms", flow.srtt_ms),
                     fmt::format("{:.1f}", flow.cwnd), timed ? fmt::format("{}", flow.completed) : "-",
                     timed ? fmt::format("{:.1f}ms", flow.latency_ms.p50) : "-",
                     timed ? fmt::format("{:.1f}ms", flow.latency_ms.p99) : "-"});
  }
  terminal.table(flows);
  std::vector<std::vector<std::string>> queues = {
      {"QUEUE", "USED", "DELAY P50", "P95", "P99", "DROPPED", "MARKED"}};
  std::size_t idle = 0;
  for (const lab::QueueSummary& queue : summary.queues) {
    if (queue.delay_ms.p99 == 0 && queue.dropped == 0) {
      ++idle;
      continue;
    }
    queues.push_back({queue.name, share(queue.utilisation), fmt::format("{:.2f}ms", queue.delay_ms.p50),
                      fmt::format("{:.2f}ms", queue.delay_ms.p95), fmt::format("{:.2f}ms", queue.delay_ms.p99),
                      fmt::format("{}", queue.dropped), fmt::format("{}", queue.marked)});
  }
  if (queues.size() > 1) terminal.table(queues);
  if (idle > 0) terminal.line(fmt::format("{} more queues were empty in 99 of 100 samples", idle));
  if (summary.fairness)
    terminal.line(fmt::format("fairness {:.3f}, {}", *summary.fairness,
                              summary.convergence ? fmt::format("converged in {}", format_duration(*summary.convergence))
                                                  : "not converged"));
}

Result<fs::path> write_lab_run(const LabRun& run, const fs::path& folder, const std::vector<lab::FigureFormat>& formats,
                               const LabRun* before, const std::string& before_name) {
  LKM_CHECK(lab::write_results(run.result, run.scenario, run.summary, folder));
  LKM_CHECK(replace_file(folder / "scenario.toml", lab::to_toml(run.scenario)));
  LKM_CHECK(replace_file(folder / "kernel.log", run.log));
  const auto data_of = [&](const LabRun& of) {
    const std::string command = fmt::format("lkm-run lab {}", (folder / "scenario.toml").string());
    return lab::report_data(of.result, of.scenario, of.summary, command);
  };
  const Json data = data_of(run);
  LKM_CHECK(replace_file(folder / "report.json", data.dump()));
  const fs::path report = folder / "report.html";
  const Json other = before == nullptr ? Json() : data_of(*before);
  LKM_CHECK(replace_file(report, before == nullptr ? lab::html_report(data) : lab::html_report(data, other, before_name)));
  if (!formats.empty()) LKM_CHECK(lab::write_figures(data, other, before_name, formats, folder / "figures"));
  return report;
}

Json lab_run_json(const LabRun& run, const fs::path& report) {
  Json about = lab::about_json(run.result, run.scenario);
  about["summary"] = lab::to_json(run.summary);
  about["wall_ns"] = run.result.wall.count();
  if (!report.empty()) about["report"] = report.string();
  return about;
}

Result<void> failed_event(const LabRun& run) {
  for (const lab::EventResult& event : run.result.events) {
    if (!event.error.empty())
      return Failure(Error({}, fmt::format("at {}: {}", format_duration(event.at), event.error)));
  }
  return {};
}

}  // namespace lkm::cli
