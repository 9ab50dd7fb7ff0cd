// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/lab_scenario.hpp"

#include <algorithm>

#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/scenario_toml.hpp"
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/module_source.hpp"

namespace lkm::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kDumbbellOnly[] = {"rate", "rtt", "buffer", "qdisc", "ecn", "loss", "flows"};

Result<lab::Scenario> dumbbell(const Arguments& arguments) {
  lab::DumbbellOptions options;
  LKM_CHECK(read_quantity(arguments, "rate", options.rate, parse_rate));
  LKM_CHECK(read_quantity(arguments, "rtt", options.rtt, parse_duration));
  LKM_CHECK(read_quantity(arguments, "buffer", options.buffer, lab::parse_limit));
  LKM_CHECK(read_quantity(arguments, "loss", options.loss, parse_fraction));
  LKM_CHECK(read_number(arguments, "flows", options.flows));
  options.qdisc = arguments.value("qdisc");
  options.ecn = arguments.has("ecn");
  if (arguments.has("cc")) options.controls = split_list(arguments.value("cc"));
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
  const auto controls = split_list(arguments.value("cc"));
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

}  // namespace

std::vector<std::string> split_list(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    if (comma > at) parts.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

Result<lab::Scenario> scenario_of(const Arguments& arguments) {
  LKM_TRY(auto scenario, arguments.operand(0) == "dumbbell" ? dumbbell(arguments) : from_file(arguments));
  LKM_CHECK(read_quantity(arguments, "for", scenario.duration, parse_duration));
  LKM_CHECK(read_quantity(arguments, "sample", scenario.sample, parse_duration));
  LKM_CHECK(read_number(arguments, "seed", scenario.seed));
  for (lab::FlowSpec& flow : scenario.flows) {
    if (arguments.has("ipv6")) flow.ip = IpFamily::kV6;
  }
  for (const std::string& source : split_list(arguments.value("module"))) {
    const bool name = source_kind(source) == SourceKind::kName;
    scenario.modules.push_back({name ? source : fs::absolute(source).lexically_normal().string(), ""});
  }
  take_folders(scenario);
  if (arguments.has("param")) {
    if (scenario.modules.empty()) return Failure(Error({}, "--param: the scenario has no module"));
    scenario.modules.back().parameters = arguments.value("param");
  }
  LKM_CHECK(lab::check(scenario));
  return scenario;
}

/// What Stack::load() takes for a module as the user names it; a folder is built.
Result<std::vector<std::string>> lab_plugins_of(const std::string& source, const fs::path& image, Terminal& terminal) {
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

}  // namespace lkm::cli
