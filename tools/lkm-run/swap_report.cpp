// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/swap_report.hpp"

#include "toolkit/net/units.hpp"

namespace lkm::cli {
namespace {

// What the stack reports of a load or a swap. A step of its own is one more row.
struct Reported {
  const char* step;
  const char* field;
};
constexpr Reported kReported[] = {
    {"snapshot", "snapshot_ns"}, {"load", "load_ns"},         {"load", "map_ns"},
    {"compare", "check_ns"},     {"init", "init_ns"},
    {"quiesce", "quiesce_ns"},   {"blackout", "blackout_ns"}, {"transfer", "transfer_ns"},
    {"retire", "retire_ns"},
};

}  // namespace

std::string swap_summary(const nlohmann::json& report) {
  const std::string method = report.value("method", "");
  const unsigned sockets = report.value("sockets", 0u);
  std::string text = fmt::format(
      "blackout {}, ",
      format_duration(std::chrono::nanoseconds(report.value("blackout_ns", std::int64_t{0}))));
  if (method == "renewed") return text + "in place, all state kept";
  if (method == "reloaded") {
    const auto ended = report.value("reset", std::vector<std::string>()).size();
    if (ended == 0) return text + "unloaded and loaded again, nothing used it";
    return text + fmt::format("unloaded and loaded again, {} socket{} reset", ended, ended == 1 ? "" : "s");
  }
  text += fmt::format("{} socket{} moved ({} connected)", sockets, sockets == 1 ? "" : "s",
                      report.value("established", 0u));
  const unsigned kept = report.value("states_kept", 0u);
  return kept == 0 ? text : text + fmt::format(", private state of {} kept", kept);
}

std::vector<std::string> swap_remarks(const nlohmann::json& report) {
  std::vector<std::string> remarks;
  if (const std::string why = report.value("not_in_place", ""); !why.empty()) {
    remarks.push_back("it " + why);
  }
  for (const auto& remark : report.value("state_remarks", std::vector<std::string>())) {
    remarks.push_back(remark);
  }
  if (report.value("zombie", false)) {
    remarks.push_back(fmt::format("{}@{} serves the connections that it had, and goes with the last",
                                  report.value("module", ""), report.value("from_generation", 0u)));
  }
  for (const auto& ended : report.value("reset", std::vector<std::string>())) {
    remarks.push_back("ended with ENETRESET: " + ended);
  }
  if (report.value("init_changed", false)) {
    remarks.emplace_back("its init is another one, and has not run: unload and load the module for that");
  }
  return remarks;
}

TimeLine time_line(const std::vector<BuildStep>& build, const nlohmann::json& report) {
  TimeLine line;
  for (const BuildStep& step : build) line.emplace_back(step.name, step.duration);
  for (const auto& [step, field] : kReported) {
    const auto at = report.find(field);
    if (at != report.end()) line.emplace_back(step, std::chrono::nanoseconds(at->get<std::int64_t>()));
  }
  return line;
}

std::string to_text(const TimeLine& line) {
  std::string text;
  for (const auto& [step, duration] : line) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", step, format_duration(duration));
  }
  return text;
}

nlohmann::json to_json(const TimeLine& line) {
  auto json = nlohmann::json::object();
  for (const auto& [step, duration] : line) json[step + "_ns"] = duration.count();
  return json;
}

std::string way_of(const BuildResult& built) {
  if (built.fast) return "built by the fast path";
  return built.why_full.empty() ? "built by Kbuild" : "built by Kbuild: " + built.why_full;
}

}  // namespace lkm::cli
