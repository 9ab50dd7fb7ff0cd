// SPDX-License-Identifier: GPL-2.0
#include <algorithm>
#include <charconv>

#include "toolkit/base/file.hpp"
#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/report.hpp"
#include "toolkit/lab/results.hpp"
#include "toolkit/lab/scenario_toml.hpp"
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDumbbellOnly[] = {"rate", "rtt", "buffer", "qdisc", "ecn", "loss", "flows"};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    if (comma > at) parts.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

template <typename T>
Result<void> read_number(const Arguments& arguments, const char* option, T& target) {
  if (!arguments.has(option)) return {};
  const std::string text = arguments.value(option);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return Failure(Error({}, fmt::format("--{}: '{}' is no number", option, text)).with_hint("lkm-run lab -h"));
}

template <typename T>
Result<void> read(const Arguments& arguments, const char* option, T& target, Result<T> (*parse)(std::string_view)) {
  if (!arguments.has(option)) return {};
  auto value = parse(arguments.value(option));
  if (!value) return Failure(std::move(value).error().while_doing(fmt::format("--{}", option)));
  target = *value;
  return {};
}

Result<lab::Scenario> dumbbell(const Arguments& arguments) {
  lab::DumbbellOptions options;
  LKM_CHECK(read(arguments, "rate", options.rate, parse_rate));
  LKM_CHECK(read(arguments, "rtt", options.rtt, parse_duration));
  LKM_CHECK(read(arguments, "buffer", options.buffer, lab::parse_limit));
  LKM_CHECK(read(arguments, "loss", options.loss, parse_fraction));
  LKM_CHECK(read_number(arguments, "flows", options.flows));
  options.qdisc = arguments.value("qdisc");
  options.ecn = arguments.has("ecn");
  if (arguments.has("cc")) options.controls = split(arguments.value("cc"));
  return lab::dumbbell(options);
}

/// A file, or the name of a ready scenario.
Result<lab::Scenario> from_file(const Arguments& arguments) {
  const std::string& name = arguments.operand(0);
  for (const auto option : kDumbbellOnly) {
    if (arguments.has(option))
      return Failure(Error({}, fmt::format("--{} is for 'lab dumbbell'; in a scenario it is in the file", option)));
  }
  fs::path file = name;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    LKM_TRY(const auto home, home_folder());
    file = home / "examples" / "lab" / (name + ".toml");
    if (!fs::exists(file, ignored))
      return fail_hint(ENOENT, "lkm-run lab --help lists the ready scenarios", "scenario '{}'", name);
  }
  LKM_TRY(auto scenario, lab::read_scenario(file));
  const auto controls = split(arguments.value("cc"));
  std::size_t next = 0;
  for (lab::FlowSpec& flow : scenario.flows) {
    if (controls.empty() || flow.kind == lab::FlowKind::kUdp) continue;
    flow.control = controls[next++ % controls.size()];
  }
  return scenario;
}

/// "./mycc": a folder with a module whose control has its name. Without a slash it is a name, whatever folders there are.
void take_folders(lab::Scenario& scenario) {
  for (lab::FlowSpec& flow : scenario.flows) {
    if (flow.control.find('/') == std::string::npos || source_kind(flow.control) != SourceKind::kFolder) continue;
    const std::string source = fs::absolute(flow.control).lexically_normal();
    const auto there = std::ranges::find(scenario.modules, source, &lab::ModuleSpec::source);
    if (there == scenario.modules.end()) scenario.modules.push_back({source, ""});
    fs::path folder = source;
    if (!folder.has_filename()) folder = folder.parent_path();
    flow.control = folder.filename();
  }
}

Result<lab::Scenario> scenario_of(const Arguments& arguments) {
  LKM_TRY(auto scenario, arguments.operand(0) == "dumbbell" ? dumbbell(arguments) : from_file(arguments));
  LKM_CHECK(read(arguments, "for", scenario.duration, parse_duration));
  LKM_CHECK(read(arguments, "sample", scenario.sample, parse_duration));
  LKM_CHECK(read_number(arguments, "seed", scenario.seed));
  for (const std::string& source : split(arguments.value("module"))) {
    const bool name = source_kind(source) == SourceKind::kName;
    scenario.modules.push_back({name ? source : fs::absolute(source).lexically_normal().string(), ""});
  }
  take_folders(scenario);
  LKM_CHECK(lab::check(scenario));
  return scenario;
}

/// What Stack::load() takes for a module as the user names it; a folder is built.
Result<std::vector<std::string>> plugins_of(const std::string& source, const fs::path& image, Terminal& terminal) {
  if (source_kind(source) == SourceKind::kName) return std::vector{source};
  if (source_kind(source) == SourceKind::kFile) {
    if (source.ends_with(".so")) return std::vector{source};
    return fail_hint(EINVAL, "name the module's folder, or what `lkm-run build` prints", "'{}' is no plugin", source);
  }
  LKM_TRY(const auto home, home_folder());
  LKM_TRY(auto build, ModuleBuild::open({.folder = source,
                                         .kernel = image,
                                         .work = cache_folder() / "builds",
                                         .plugins = cache_folder() / "plugins",
                                         .linker = home / "Kbuild" / "plugin"}));
  terminal.transient(fmt::format("building {}", source));
  LKM_TRY(const auto interrupt, Interrupt::block());
  LKM_TRY(const auto built,
          build.run([&](std::string_view line) { terminal.note(line.substr(0, line.size() - 1)); }, interrupt.fd()));
  std::vector<std::string> plugins;
  for (const BuiltModule& module : built.modules) plugins.push_back(module.plugin);
  return plugins;
}

std::string share(double value) { return value > 0 ? fmt::format("{:.3g}%", value * 100) : "0"; }

void show(Terminal& terminal, const lab::RunResult& run, const lab::Scenario& scenario, const lab::Summary& summary) {
  terminal.line(fmt::format("{}: {} in {}", scenario.title, format_duration(scenario.duration),
                            format_duration(run.wall)));
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

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  if (arguments.has("pcap") && !arguments.has("output")) {
    terminal.error(Error({}, "--pcap needs --output, a folder for the captures"));
    return kUsage;
  }
  auto scenario = scenario_of(arguments);
  if (!scenario) {
    terminal.error(scenario.error());
    return kUsage;
  }
  LKM_TRY(const auto image, present_image());
  std::string log;
  const auto result = lab::run(
      *scenario,
      {.image = image,
       .clock = arguments.value("time") == "real" ? Clock::kReal : Clock::kVirtual,
       .plugins_of = [&](const std::string& source) { return plugins_of(source, image, terminal); },
       .capture = arguments.has("pcap"),
       .console = [&](std::string_view text) { log += text; },
       .progress =
           [&](std::chrono::nanoseconds at) {
             terminal.transient(fmt::format("{} of {}", format_duration(at), format_duration(scenario->duration)));
             return true;
           }});
  if (!result) return explain(terminal, result.error());
  const lab::Summary summary = lab::summarise(*result);

  std::string report;
  if (arguments.has("output")) {
    const fs::path folder = arguments.value("output");
    report = folder / "report.html";
    LKM_CHECK(lab::write_results(*result, *scenario, summary, folder));
    LKM_CHECK(replace_file(folder / "scenario.toml", lab::to_toml(*scenario)));
    LKM_CHECK(replace_file(folder / "kernel.log", log));
    const std::string command = fmt::format("lkm-run lab {}", (folder / "scenario.toml").string());
    const Json data = lab::report_data(*result, *scenario, summary, command);
    LKM_CHECK(replace_file(folder / "report.json", data.dump()));
    LKM_CHECK(replace_file(report, lab::html_report(data)));
  }
  if (terminal.json()) {
    Json about = lab::about_json(*result, *scenario);
    about["summary"] = lab::to_json(summary);
    about["wall_ns"] = result->wall.count();
    if (!report.empty()) about["report"] = report;
    terminal.object({{"lab", std::move(about)}});
  } else {
    show(terminal, *result, *scenario, summary);
  }
  for (const lab::EventResult& event : result->events) {
    if (!event.error.empty())
      return Failure(Error({}, fmt::format("at {}: {}", format_duration(event.at), event.error)));
    if (!terminal.json()) terminal.line(fmt::format("at {}: {}", format_duration(event.at), event.what));
  }
  if (!report.empty() && !terminal.json()) terminal.line(report);
  return kDone;
}

}  // namespace

extern const Verb kLab;
const Verb kLab = {
    .name = "lab",
    .summary = "run an experiment in virtual time",
    .operands = "dumbbell|SCENARIO|FILE",
    .description =
        "Runs hosts, routers, links and flows in a stack of its own, in virtual time: as fast as the CPU "
        "allows, and with the same seed the same twice. Every segment crosses a bottleneck by itself.\n\n"
        "`dumbbell` is made from the options: for each congestion control of --cc a pair of hosts, and one "
        "bottleneck between them. Anything else is a scenario: a TOML FILE (docs/lab.md), or one of those in "
        "examples/lab: parking-lot, incast, bufferbloat, lossy-wireless, satellite, datacentre-ecn, rate-step, "
        "mixed-rtt, short-vs-long, cellular. In those --cc replaces the congestion controls, in turn.\n\n"
        "A control with a slash in it, ./mycc, is a folder: it is built, loaded and used by its name. With --output there "
        "are the samples as CSV and JSON lines, the scenario, and a report to look at in a browser.",
    .options = {{.name = "cc", .value = "NAME[,NAME]", .help = "congestion controls, or folders of such (default: cubic)"},
                {.name = "rate", .value = "RATE", .help = "of the bottleneck (default: 50mbit)"},
                {.name = "rtt", .value = "TIME", .help = "round trip without queues (default: 40ms)"},
                {.name = "buffer", .value = "LIMIT", .help = "of the bottleneck: 1bdp, 64KiB, 100pkt (default: 1bdp)"},
                {.name = "qdisc", .value = "NAME", .help = "of the bottleneck (default: a FIFO)"},
                {.name = "ecn", .help = "mark instead of dropping, and let TCP ask for it"},
                {.name = "loss", .value = "SHARE", .help = "at random, in each direction"},
                {.name = "flows", .value = "N", .help = "of each congestion control (default: 1)"},
                {.name = "for", .value = "TIME", .help = "length of the run (default: 60s)"},
                {.name = "sample", .value = "TIME", .help = "between two samples (default: 100ms)"},
                {.name = "seed", .value = "N", .help = "of all that is random (default: 1)"},
                {.name = "module", .letter = 'm', .value = "DIR[,DIR]", .help = "modules to build and load before"},
                {.name = "time", .value = "CLOCK", .help = "virtual, real", .choices = {"virtual", "real"}},
                {.name = "pcap", .help = "with --output: a capture of each link that has a rate"},
                {.name = "output", .letter = 'o', .value = "DIR", .help = "write samples and report there"}},
    .examples = {{"lkm-run lab dumbbell --cc ./mycc,cubic --rate 50mbit --rtt 40ms -o out", "yours against cubic"},
                 {"lkm-run lab incast --cc dctcp --json", "a ready scenario"},
                 {"lkm-run lab mine.toml --seed 7 -o out", "a scenario of your own"}},
    .least = 1,
    .most = 1,
    .complete = Operand::kFile,
    .run = run,
};

}  // namespace lkm::cli
