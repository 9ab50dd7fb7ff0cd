// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/report.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "toolkit/lab/report_parts.hpp"
#include "toolkit/lab/results.hpp"
#include "toolkit/lab/scenario_toml.hpp"

namespace lkm::lab {
namespace {

using Json = nlohmann::json;

constexpr std::uint32_t kNoThreshold = 0x7fffffff;  // TCP_INFINITE_SSTHRESH of net/tcp.h
constexpr double kMega = 1e6;

double seconds(nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

/// What a person can see, and no more digits.
Json rounded(double value) { return std::round(value * 1000) / 1000; }

using FlowValue = std::function<Json(const FlowSeries&, std::size_t)>;
using QueueValue = std::function<Json(const QueueSeries&, std::size_t)>;

/// A line for each, in the colour that it has in all plots; a dashed one that is zero all the time is none.
template <typename Series, typename Value>
void add_lines(Json& plot, const RunResult& run, const std::vector<Series>& all, const Value& value,
               const std::string& suffix = "", bool dashed = false) {
  for (std::size_t s = 0; s < all.size(); ++s) {
    Json values = Json::array();
    bool any = false;
    for (std::size_t i = 0; i < run.times.size(); ++i) {
      values.push_back(value(all[s], i));
      any = any || (!values.back().is_null() && !(dashed && values.back() == 0));
    }
    if (!any) continue;
    plot["series"].push_back(
        {{"name", all[s].name + suffix}, {"colour", s}, {"dashed", dashed}, {"values", std::move(values)}});
  }
}

FlowValue connected(std::function<Json(const FlowSample&)> value) {
  return [value = std::move(value)](const FlowSeries& flow, std::size_t i) {
    return flow.samples[i].connected ? value(flow.samples[i]) : Json();
  };
}

/// The change of a counter since the sample before.
template <typename Series, typename Counter>
auto change(Counter counter) {
  return [counter](const Series& series, std::size_t i) -> Json {
    return i == 0 ? Json() : Json(counter(series.samples[i]) - counter(series.samples[i - 1]));
  };
}

/// A constant needs no plot.
std::vector<std::string> variables_that_change(const RunResult& run) {
  std::vector<std::string> names;
  for (const FlowSeries& flow : run.flows) {
    for (const VariableSeries& variable : flow.variables) {
      std::optional<double> first;
      const bool changes = std::ranges::any_of(variable.values, [&](double value) {
        if (!std::isnan(value) && !first) first = value;
        return !std::isnan(value) && value != *first;
      });
      if (changes && std::ranges::find(names, variable.name) == names.end()) names.push_back(variable.name);
    }
  }
  return names;
}

Json plots_of(const RunResult& run) {
  Json plots = Json::array();
  const auto plot = [&](const char* title, const char* unit) -> Json& {
    plots.push_back({{"title", title}, {"unit", unit}, {"series", Json::array()}});
    return plots.back();
  };
  const FlowValue goodput = [&](const FlowSeries& flow, std::size_t i) -> Json {
    if (i == 0 || run.times[i] <= flow.start) return {};
    const auto bytes = double(flow.samples[i].bytes_received - flow.samples[i - 1].bytes_received);
    return rounded(bytes * 8 / kMega / seconds(run.times[i] - run.times[i - 1]));
  };
  add_lines(plot("Goodput", "Mbit/s"), run, run.flows, goodput);
  Json& cwnd = plot("Congestion window (dashed: ssthresh)", "segments");
  add_lines(cwnd, run, run.flows, connected([](const FlowSample& at) { return at.cwnd; }));
  add_lines(cwnd, run, run.flows, connected([](const FlowSample& at) {
              return at.ssthresh == kNoThreshold ? Json() : Json(at.ssthresh);
            }),
            " ssthresh", true);
  add_lines(plot("In flight", "segments"), run, run.flows,
            connected([](const FlowSample& at) { return at.in_flight; }));
  add_lines(plot("Smoothed round-trip time", "ms"), run, run.flows,
            connected([](const FlowSample& at) { return at.srtt_us == 0 ? Json() : Json(at.srtt_us / 1e3); }));
  add_lines(plot("Delivery rate, as TCP estimates it", "Mbit/s"), run, run.flows,
            connected([](const FlowSample& at) { return rounded(double(at.delivery_rate) / kMega); }));
  add_lines(plot("Pacing rate", "Mbit/s"), run, run.flows, connected([](const FlowSample& at) {
              return at.pacing_rate == 0 ? Json() : rounded(double(at.pacing_rate) / kMega);
            }));
  add_lines(plot("Retransmitted segments, between two samples", "segments"), run, run.flows,
            change<FlowSeries>([](const FlowSample& at) { return std::int64_t(at.retransmits); }));
  // Of each packet where that is known, else of the last one in the queue.
  const QueueValue sojourn = [](const QueueSeries& queue, std::size_t i) -> Json {
    const QueueSample& at = queue.samples[i];
    if (queue.sojourns.count > 0 && at.left == 0) return {};
    return rounded(seconds(queue.sojourns.count > 0 ? at.sojourn_mean : at.delay) * 1e3);
  };
  const QueueValue longest = [](const QueueSeries& queue, std::size_t i) -> Json {
    return queue.samples[i].left == 0 ? Json() : rounded(seconds(queue.samples[i].sojourn_longest) * 1e3);
  };
  Json& delay = plot("Time of packets in the queue, mean between two samples (dashed: longest)", "ms");
  add_lines(delay, run, run.queues, sojourn);
  add_lines(delay, run, run.queues, longest, " longest", true);
  if (std::ranges::any_of(run.queues, [](const QueueSeries& queue) {
        return std::ranges::any_of(queue.samples, [&](const auto& at) { return at.rate != queue.samples.back().rate; });
      })) {
    add_lines(plot("Rate of the link", "Mbit/s"), run, run.queues, [](const QueueSeries& queue, std::size_t i) {
      return rounded(double(queue.samples[i].rate) / kMega);
    });
  }
  add_lines(plot("Queue length", "packets"), run, run.queues,
            [](const QueueSeries& queue, std::size_t i) { return Json(queue.samples[i].packets); });
  Json& drops = plot("Drops (dashed: ECN marks), between two samples", "packets");
  add_lines(drops, run, run.queues, change<QueueSeries>([](const QueueSample& at) { return std::int64_t(at.drops); }));
  add_lines(drops, run, run.queues, change<QueueSeries>([](const QueueSample& at) { return std::int64_t(at.marks); }),
            " marks", true);
  for (const std::string& name : variables_that_change(run)) {
    add_lines(plot(name.c_str(), "variable of the congestion control"), run, run.flows,
              [&](const FlowSeries& flow, std::size_t i) -> Json {
                const auto found = std::ranges::find(flow.variables, name, &VariableSeries::name);
                if (found == flow.variables.end() || std::isnan(found->values[i])) return {};
                return found->values[i];
              });
  }
  return plots;
}

/// JSON inside of a script element: the text must not end it.
std::string for_script(const Json& json) {
  std::string text;
  for (const char c : json.dump()) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

std::string for_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

namespace {

/// "@MARK@" stands for a part. What was put in is not searched again.
std::string filled(std::string_view page, const std::function<std::string(std::string_view mark)>& part_of) {
  std::string out;
  for (;;) {
    const auto open = page.find('@');
    out += page.substr(0, open);
    if (open == std::string_view::npos) return out;
    const auto close = page.find('@', open + 1);
    out += part_of(page.substr(open + 1, close - open - 1));
    page.remove_prefix(close + 1);
  }
}

/// What both pages have.
std::string common_part(std::string_view mark) {
  if (mark == "UPLOT_CSS") return std::string(kUplotCss);
  if (mark == "UPLOT_JS") return std::string(kUplotJs);
  if (mark == "CSS") return std::string(kReportCss);
  if (mark == "DRAW_JS") return std::string(kDrawJs);
  return {};
}

}  // namespace

Json report_data(const RunResult& run, const Scenario& scenario, const Summary& summary, const std::string& command) {
  Json times = Json::array();
  for (const nanoseconds time : run.times) times.push_back(rounded(seconds(time)));
  return {{"about", about_json(run, scenario)}, {"summary", to_json(summary)}, {"time_s", std::move(times)},
          {"plots", plots_of(run)},             {"command", command},          {"scenario", to_toml(scenario)}};
}

std::string html_report(const Json& data) { return html_report(data, Json(), ""); }

std::string html_report(const Json& data, const Json& before, const std::string& before_name) {
  return filled(kReportHtml, [&](std::string_view mark) -> std::string {
    if (mark == "TITLE") return for_html(data["about"]["title"]);
    if (mark == "RUN") return for_script(data);
    if (mark == "BEFORE") return for_script({{"name", before_name}, {"run", before}});
    if (mark == "JS") return std::string(kReportJs);
    return common_part(mark);
  });
}

std::string watch_page(const std::string& title) {
  return filled(kWatchHtml, [&](std::string_view mark) -> std::string {
    if (mark == "TITLE") return for_html(title);
    if (mark == "WATCH_JS") return std::string(kWatchJs);
    return common_part(mark);
  });
}

}  // namespace lkm::lab
