// SPDX-License-Identifier: GPL-2.0
#include <algorithm>
#include <map>

#include "toolkit/lab/in_child.hpp"
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/lab_bisect.hpp"
#include "tools/lkm-run/lab_output.hpp"
#include "tools/lkm-run/lab_scenario.hpp"
#include "tools/lkm-run/lab_sweep.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

lab::RunOptions options_of(const Arguments& arguments, const fs::path& image) {
  return {.image = image,
          .clock = arguments.value("time") == "real" ? Clock::kReal : Clock::kVirtual,
          .capture = arguments.has("pcap")};
}

Result<std::vector<lab::FigureFormat>> formats_of(const Arguments& arguments) {
  std::vector<lab::FigureFormat> formats;
  for (const std::string& name : split_list(arguments.value("format"))) {
    LKM_TRY(const auto format, lab::parse_figure_format(name));
    if (std::ranges::count(formats, format) == 0) formats.push_back(format);
  }
  return formats;
}

/// One run, in this process.
Result<int> run_once(const Arguments& arguments, const fs::path& image, lab::Scenario scenario, Terminal& terminal) {
  LabRun run{.scenario = std::move(scenario), .result = {}, .summary = {}, .log = {}};
  lab::RunOptions options = options_of(arguments, image);
  options.plugins_of = [&](const std::string& source) { return lab_plugins_of(source, image, terminal); };
  options.console = [&](std::string_view text) { run.log += text; };
  options.progress = [&](std::chrono::nanoseconds at) {
    terminal.transient(fmt::format("{} of {}", format_duration(at), format_duration(run.scenario.duration)));
    return true;
  };
  auto result = lab::run(run.scenario, options);
  if (!result) return explain(terminal, result.error());
  run.result = std::move(*result);
  run.summary = lab::summarise(run.result);

  fs::path report;
  if (arguments.has("output")) {
    LKM_TRY(const auto formats, formats_of(arguments));
    LKM_TRY(report, write_lab_run(run, arguments.value("output"), formats));
  }
  if (terminal.json()) {
    terminal.object({{"lab", lab_run_json(run, report)}});
    LKM_CHECK(failed_event(run));
    return kDone;
  }
  show_lab_run(terminal, run);
  for (const lab::EventResult& event : run.result.events) {
    if (event.error.empty()) terminal.line(fmt::format("at {}: {}", format_duration(event.at), event.what));
  }
  LKM_CHECK(failed_event(run));
  if (!report.empty()) terminal.line(report.string());
  return kDone;
}

/// The two runs are the same until `at`, as runs of one scenario are: so the second needs no copy of the first's state.
Result<int> run_twice(const Arguments& arguments, const fs::path& image, const lab::Scenario& scenario,
                      Terminal& terminal) {
  lab::EventSpec swap{.at = scenario.duration / 2,
                      .kind = lab::EventSpec::Kind::kSwap,
                      .target = fs::absolute(arguments.value("swap")).lexically_normal(),
                      .where = {}};
  LKM_CHECK(read_quantity(arguments, "at", swap.at, parse_duration));
  LabRun without{.scenario = scenario, .result = {}, .summary = {}, .log = {}};
  LabRun with = without;
  with.scenario.events.push_back(swap);
  LKM_CHECK(lab::check(with.scenario));

  std::map<std::string, std::vector<std::string>> plugins;
  std::vector<std::string> sources = {swap.target};
  for (const lab::ModuleSpec& module : scenario.modules) sources.push_back(module.source);
  for (const lab::EventSpec& event : scenario.events) {
    if (event.kind == lab::EventSpec::Kind::kSwap) sources.push_back(event.target);
  }
  for (const std::string& source : sources) {
    auto made = lab_plugins_of(source, image, terminal);
    if (!made) return explain(terminal, made.error());
    plugins[source] = std::move(*made);
  }
  lab::RunOptions options = options_of(arguments, image);
  options.plugins_of = [&](const std::string& source) -> Result<std::vector<std::string>> { return plugins.at(source); };
  terminal.transient("two runs, with the swap and without");
  LKM_TRY(auto first, lab::ChildRun::start(without.scenario, options));
  LKM_TRY(auto second, lab::ChildRun::start(with.scenario, options));
  const auto finish = [](lab::ChildRun& child, LabRun& run) -> Result<void> {
    LKM_TRY(run.result, child.finish([&](std::string_view text) { run.log += text; }));
    run.summary = lab::summarise(run.result);
    return failed_event(run);
  };
  LKM_CHECK(finish(first, without));
  LKM_CHECK(finish(second, with));
  const auto part = lab::first_difference(with.result, without.result);
  if (part && part->at < swap.at)
    return Failure(Error({}, fmt::format("the two runs part at {}, before the swap", format_duration(part->at)))
                       .with_hint("a run is repeated exactly in virtual time only"));

  fs::path report;
  if (arguments.has("output")) {
    const fs::path folder = arguments.value("output");
    LKM_TRY(const auto formats, formats_of(arguments));
    LKM_TRY(report, write_lab_run(with, folder, formats, &without, "without"));
    LKM_CHECK(write_lab_run(without, folder / "without", {}));
  }
  if (terminal.json()) {
    Json about = lab_run_json(with, report);
    about["without"] = lab::to_json(without.summary);
    if (part) {
      about["part"] = {{"time_s", std::chrono::duration<double>(part->at).count()},
                       {"of", part->series}, {"column", part->column}, {"with", part->one}, {"without", part->other}};
    }
    terminal.object({{"lab", std::move(about)}});
    return kDone;
  }
  terminal.line(fmt::format("-- without, {}", scenario.title));
  show_lab_run(terminal, without);
  terminal.line(fmt::format("-- with {}", with.result.events.back().what));
  show_lab_run(terminal, with);
  terminal.line(part ? fmt::format("the same until {}: then {} of {} is {}, and {} without", format_duration(part->at),
                                   part->column, part->series, part->one, part->other)
                     : "the swap changes nothing that was measured");
  if (!report.empty()) terminal.line(report.string());
  return kDone;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const auto misused = [&](const char* option, const char* needed) {
    if (!arguments.has(option) || arguments.has(needed)) return false;
    terminal.error(Error({}, fmt::format("--{} needs --{}", option, needed)).with_hint("lkm-run lab -h"));
    return true;
  };
  if (arguments.operand(0) == "sweep") return lab_sweep(arguments, terminal);
  if (arguments.operand(0) == "bisect") return lab_bisect(arguments, terminal);
  if (arguments.operands().size() > 1) {
    terminal.error(Error({}, fmt::format("one scenario at a time, not '{}' too", arguments.operand(1)))
                       .with_hint("lkm-run lab sweep takes several"));
    return kUsage;
  }
  if (misused("pcap", "output") || misused("format", "output") || misused("at", "swap")) return kUsage;
  if (const auto formats = formats_of(arguments); !formats) {
    terminal.error(formats.error());
    return kUsage;
  } else if (!formats->empty()) {
    if (auto can = lab::check_figures(); !can) {
      terminal.error(can.error());
      return kMissing;
    }
  }
  auto scenario = scenario_of(arguments);
  if (!scenario) {
    terminal.error(scenario.error());
    return kUsage;
  }
  LKM_TRY(const auto image, present_image());
  return arguments.has("swap") ? run_twice(arguments, image, *scenario, terminal)
                               : run_once(arguments, image, std::move(*scenario), terminal);
}

}  // namespace

extern const Verb kLab;
const Verb kLab = {
    .name = "lab",
    .summary = "run an experiment in virtual time",
    .operands = "[sweep | bisect] SCENARIO [OPTION=VALUE,... | BOUND [BUILD...]]",
    .description =
        "Runs hosts, routers, links and flows in a stack of its own, in virtual time: as fast as the CPU "
        "allows, and with the same seed the same twice. Every segment crosses a bottleneck by itself.\n\n"
        "`dumbbell` is made from the options: for each congestion control of --cc a pair of hosts, and one "
        "bottleneck between them. Anything else is a scenario: a TOML FILE (docs/lab.md), or one of those in "
        "examples/lab: parking-lot, incast, bufferbloat, lossy-wireless, satellite, datacentre-ecn, rate-step, "
        "mixed-rtt, short-vs-long, cellular. In those --cc replaces the congestion controls, in turn.\n\n"
        "A control with a slash in it, ./mycc, is a folder: it is built, loaded and used by its name. With --output there "
        "are the samples as CSV and JSON lines, the scenario, and a report to look at in a browser.\n\n"
        "With --swap the scenario runs twice: as it is, and with another build of one of its modules swapped in at a "
        "moment. Until then both are the same run; where they part is told, and the report shows one over the other.\n\n"
        "`sweep` runs the scenarios with each combination of the values, a run for each, as many at once as there are CPUs: "
        "cc=cubic,bbr rate=10mbit,50mbit seed=1-5. A '+' stands for the comma within a value. In the folder --output there "
        "are then all runs, and the means over the seeds with their intervals of 95% confidence, as CSV and as an SQLite "
        "database. One that was interrupted or killed goes on where it was. With --slurm the runs are array jobs of a Slurm "
        "cluster that sees this folder and lkm-run's cache; partition and time limit come from SBATCH_PARTITION and "
        "SBATCH_TIMELIMIT.\n\n"
        "`bisect` looks for the first commit with which a measure is beyond a bound, 'mycc.goodput_bit_s >= 20e6', by git "
        "bisect in a worktree of its own: between the commit --good, of which the bound holds, and --bad. What does not "
        "build is skipped. With BUILDs, plugins or folders from old to new, it looks among them.",
    .options = {{.name = "cc", .value = "NAME[,NAME]", .help = "congestion controls, or folders of such (default: cubic)"},
                {.name = "rate", .value = "RATE", .help = "of the bottleneck (default: 50mbit)"},
                {.name = "rtt", .value = "TIME", .help = "round trip without queues (default: 40ms)"},
                {.name = "buffer", .value = "LIMIT", .help = "of the bottleneck: 1bdp, 64KiB, 100pkt (default: 1bdp)"},
                {.name = "qdisc", .value = "NAME", .help = "of the bottleneck (default: a FIFO)"},
                {.name = "ecn", .help = "mark instead of dropping, and let TCP ask for it"},
                {.name = "loss", .value = "SHARE", .help = "at random, in each direction"},
                {.name = "flows", .value = "N", .help = "of each congestion control (default: 1)"},
                {.name = "ipv6", .help = "all flows over IPv6"},
                {.name = "for", .value = "TIME", .help = "length of the run (default: 60s)"},
                {.name = "sample", .value = "TIME", .help = "between two samples (default: 100ms)"},
                {.name = "seed", .value = "N", .help = "of all that is random (default: 1)"},
                {.name = "module", .letter = 'm', .value = "DIR[,DIR]", .help = "modules to build and load before"},
                {.name = "param", .value = "NAME=VALUE ...", .help = "parameters of the last of these"},
                {.name = "swap", .value = "DIR", .help = "run twice, once with this build swapped in, and compare"},
                {.name = "at", .value = "TIME", .help = "with --swap: when (default: half-way)"},
                {.name = "time", .value = "CLOCK", .help = "virtual, real", .choices = {"virtual", "real"}},
                {.name = "pcap", .help = "with --output: a capture of each link that has a rate"},
                {.name = "format", .value = "FORMAT", .help = "with --output: figures too, as svg, png or svg,png"},
                {.name = "jobs", .value = "N", .help = "of a sweep: runs at once (default: CPUs; Slurm: no limit)"},
                {.name = "slurm", .help = "of a sweep: run as array jobs of Slurm, not here"},
                {.name = "good", .value = "COMMIT", .help = "of a bisect: the bound holds there"},
                {.name = "bad", .value = "COMMIT", .help = "of a bisect: it does not (default: HEAD)"},
                {.name = "output", .letter = 'o', .value = "DIR", .help = "write samples and report there"}},
    .examples = {{"lkm-run lab dumbbell --cc ./mycc,cubic --rate 50mbit --rtt 40ms -o out", "yours against cubic"},
                 {"lkm-run lab incast --cc dctcp --json", "a ready scenario"},
                {"lkm-run lab dumbbell --cc cubic,bbr -o out --format svg", "the plots for a paper"},
                 {"lkm-run lab mine.toml --seed 7 -o out", "a scenario of your own"},
                 {"lkm-run lab dumbbell --cc ./mycc --swap ./new/mycc --at 20s -o out", "old and new from one state"}},
    .least = 1,
    .most = kAny,
    .complete = Operand::kFile,
    .run = run,
};

}  // namespace lkm::cli
