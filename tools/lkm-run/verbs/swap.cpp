// SPDX-License-Identifier: GPL-2.0
#include <algorithm>

#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/judge.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/swap_report.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

// The module of that name, when it runs this very build.
const Json* same_build(const Json& modules, const Plugin& plugin) {
  for (const Json& module : modules) {
    if (module.value("name", "") == plugin.name && module.value("build_id", "") == plugin.build_id) {
      return &module;
    }
  }
  return nullptr;
}

// Puts the plugins in the place of what is loaded. The exit code.
Result<int> swap_in(control::Client& client, const Made& made, const std::string& parameters,
                    const std::string& state, bool snapshot, Terminal& terminal) {
  for (const Plugin& plugin : made.plugins) {
    const bool last = &plugin == &made.plugins.back();
    LKM_TRY(const Json loaded, client.call("modules"));
    if (const Json* module = same_build(loaded["modules"], plugin)) {
      if (last && !parameters.empty()) {
        return Failure(Error({}, fmt::format("{} is this very build; its parameters can be set as they are",
                                             generation_name(*module)))
                           .with_hint(fmt::format("echo VALUE > $(lkm-run mount)/sys/module/{}/parameters/PARAM",
                                                  plugin.name)));
      }
      terminal.note(fmt::format("{} is this very build, nothing to swap", generation_name(*module)));
      continue;
    }
    const auto report = call(client, terminal, "swap",
                             {{"plugin", plugin.path.string()},
                              {"parameters", last ? parameters : ""},
                              {"state", state},
                              {"snapshot", snapshot}});
    if (!report) {
      terminal.error(report.error());
      return report.error().code() == std::errc::connection_reset ? kFailed : kSwapFailed;
    }
    const TimeLine steps = time_line(made.built.steps, *report);
    if (terminal.json()) {
      terminal.object({{"swapped", *report}, {"steps", to_json(steps)}, {"fast", made.built.fast}});
    } else {
      terminal.line(fmt::format("{0}@{1} → {0}@{2}: {3}", plugin.name, report->value("from_generation", 0u),
                                report->value("to_generation", 0u), swap_summary(*report)));
      terminal.line(terminal.out(Paint::kDim, "  " + to_text(steps)));
      for (const auto& remark : swap_remarks(*report)) terminal.note("  " + remark);
    }
  }
  return kDone;
}

// Kbuild's word on what was replayed; if it is another one, its build is swapped in.
Result<int> judge(control::Client& client, Made made, const std::string& operand, const std::string& state,
                  bool snapshot, Terminal& terminal) {
  LKM_TRY(const auto interrupt, Interrupt::block());
  terminal.transient("Kbuild looks it over");
  auto verdict = made.build->judge(made.built, interrupt.fd());
  if (!verdict) return explain(terminal, verdict.error());
  switch (verdict->kind) {
    case Verdict::Kind::kAgrees:
      return kDone;
    case Verdict::Kind::kOutdated:
      terminal.note(fmt::format("{} was saved again meanwhile", operand));
      return kDone;
    case Verdict::Kind::kRefuses:
      terminal.note(verdict->output);
      terminal.error(Error({}, fmt::format("Kbuild does not build {}, which the fast path did", operand))
                         .with_hint("put it right, and swap again"));
      return kBuildFailed;
    case Verdict::Kind::kDisagrees:
      break;
  }
  terminal.error(verdict_error(*verdict, operand));
  made.plugins = plugins_of(verdict->kbuild);
  made.built = std::move(verdict->kbuild);
  return swap_in(client, made, "", state, snapshot, terminal);
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const std::string& what = arguments.operand(0);
  const std::string state = arguments.value("state", "keep");
  const bool snapshot = !arguments.has("no-snapshot");
  const auto parameters = module_parameters(arguments.operands(), 1);
  if (!parameters) {
    terminal.error(parameters.error());
    return kUsage;
  }
  if (source_kind(what) == SourceKind::kName) {
    terminal.error(fail_hint(ENOENT, "give the folder of its sources, or a .ko or .so file", "'{}'", what).value());
    return kUsage;
  }
  LKM_TRY(const auto folder, state_folder(arguments));
  LKM_TRY(auto client, control::Client::connect(folder));
  LKM_TRY(const auto place, place_of(folder, client));
  auto made = make_plugins(what, place, terminal, Speed::kFast);
  if (!made) return explain(terminal, made.error());
  const bool replayed = made->built.fast;
  LKM_TRY(int code, swap_in(client, *made, *parameters, state, snapshot, terminal));
  if (replayed) {
    LKM_TRY(const int judged, judge(client, std::move(*made), what, state, snapshot, terminal));
    code = std::max(code, judged);
  }
  LKM_TRY(const Json modules, client.call("modules"));
  drop_old_plugins(folder, modules["modules"]);
  return code;
}

}  // namespace

extern const Verb kSwap;
const Verb kSwap = {
    .name = "swap",
    .summary = "replace a loaded module by another build of it",
    .operands = "DIR|FILE [PARAM=VALUE]...",
    .description =
        "Builds DIR, or takes a built FILE, and puts it in the place of the loaded module of the same "
        "name while everything goes on. A module of any kind goes on in place: its sockets, timers, queues "
        "and variables are as they were, with the new code, as long as its structures look as before. Where "
        "they do not, the reason is told; then the sockets of a congestion control are moved to the new code with "
        "their windows and what of their state has a place there (none with --state reinit), and a module of "
        "another kind is swapped if nothing uses it.\n\n"
        "With --state drain, the connections of a congestion control stay with the old code, which goes with the last "
        "of them. With --state reset, the sockets of a transport protocol end with ENETRESET, qdiscs end and are made "
        "anew with their options, and the module is loaded anew; nobody else is touched.\n\n"
        "Parameters that are not given keep their present values. If the new build cannot be loaded, "
        "the old one serves on, and the exit status is 4.\n\n"
        "After an edit of one source file, what Kbuild did last is replayed, if a watch has prepared it; "
        "Kbuild itself then looks the result over, and if it makes something else, that is swapped in.\n\n"
        "A copy of the stack is taken first, and kept for three seconds. If the stack dies of the new code in "
        "that time, or stalls, it goes on in that copy, as it was before the swap.\n\n"
        "The blackout is the longest time in which nothing else in the stack could run.",
    .options = {{.name = "state",
                 .value = "POLICY",
                 .help = "of live objects: keep (default), reinit, drain or reset",
                 .choices = {"keep", "reinit", "drain", "reset"}},
                {.name = "no-snapshot", .help = "take no copy of the stack to go back to if it dies"}},
    .examples = {{"lkm-run swap ./mycc", "after an edit; lkm-run watch does it at each save"},
                 {"lkm-run swap ./mycc alpha=5", "with another parameter"}},
    .least = 1,
    .most = kAny,
    .complete = Operand::kFile,
    .run = run,
};

}  // namespace lkm::cli
