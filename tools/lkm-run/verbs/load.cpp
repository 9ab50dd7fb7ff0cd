// SPDX-License-Identifier: GPL-2.0
#include <charconv>
#include <cstring>

#include "toolkit/net/units.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

/// How to load, besides what.
struct Way {
  bool snapshot = true;
  std::string failing;  ///< of --fail-allocation; "" if it was not given
};

Result<void> load_one(control::Client& client, Terminal& terminal, const std::string& what,
                      const std::string& parameters, const Way& way) {
  LKM_TRY(const Json loaded, call(client, terminal, "load",
                                  {{"what", what}, {"parameters", parameters}, {"snapshot", way.snapshot}}));
  if (terminal.json()) {
    terminal.object({{"loaded", loaded}});
  } else {
    terminal.line(fmt::format("{} loaded in {}", generation_name(loaded["module"]),
                              format_duration(std::chrono::nanoseconds(loaded["load_ns"].get<std::int64_t>()))));
  }
  return {};
}

// One load with an allocation that fails. Its result; an error that it is about is told, and gives null.
Result<Json> load_failing(control::Client& client, Terminal& terminal, const std::string& what,
                          const std::string& parameters, const Way& way, unsigned number) {
  Json params{{"what", what}, {"parameters", parameters}, {"snapshot", way.snapshot}, {"fail_allocation", number}};
  // Not by call(): the kernel tells of each allocation that it lets fail, with a back trace.
  auto result = client.call("load", std::move(params));
  if (!result) {
    const int code = result.error().errno_value();
    if (code != ENOTRECOVERABLE && code != EFAULT) return Failure(std::move(result).error());
    terminal.error(Error({}, fmt::format("allocation {}: {}", number, result.error().message()))
                       .with_hint(result.error().hint()));
    return Json();
  }
  if (terminal.json()) {
    terminal.object({{"fail_allocation", *result}});
    return result;
  }
  const std::string place = result->value("place", "");
  const std::string where = place.empty() ? "a place that the kernel does not tell" : place;
  if (!result->value("reached", false)) {
    terminal.line(fmt::format("{} loaded: its init makes {} allocation{}", generation_name((*result)["module"]),
                              number - 1, number == 2 ? "" : "s"));
  } else if (result->contains("module")) {
    terminal.line(fmt::format("{}  {}: loaded in spite of it", number, where));
  } else {
    terminal.line(fmt::format("{}  {}: {}", number, where, std::strerror(result->value("errno", 0))));
  }
  return result;
}

// Over all allocations of the init, until it makes no more.
Result<int> fail_each(control::Client& client, Terminal& terminal, const std::string& what,
                      const std::string& parameters, const Way& way) {
  int code = kDone;
  for (unsigned number = 1;; ++number) {
    LKM_TRY(const Json result, load_failing(client, terminal, what, parameters, way, number));
    if (result.is_null()) {
      code = kFailed;
      continue;
    }
    if (!result.value("reached", false)) return code;
    if (result.contains("module")) {
      LKM_CHECK(client.call("unload", {{"name", result["module"]["name"]}, {"snapshot", way.snapshot}}));
    }
  }
}

Result<int> load_last(control::Client& client, Terminal& terminal, const std::string& what,
                      const std::string& parameters, const Way& way) {
  if (way.failing.empty()) {
    LKM_CHECK(load_one(client, terminal, what, parameters, way));
    return kDone;
  }
  if (way.failing == "each") return fail_each(client, terminal, what, parameters, way);
  LKM_TRY(const Json result,
          load_failing(client, terminal, what, parameters, way, unsigned(std::stoul(way.failing))));
  return result.is_null() ? kFailed : kDone;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const std::string& what = arguments.operand(0);
  const auto parameters = module_parameters(arguments.operands(), 1);
  if (!parameters) {
    terminal.error(parameters.error());
    return kUsage;
  }
  const Way way{.snapshot = !arguments.has("no-snapshot"), .failing = arguments.value("fail-allocation", "")};
  if (const auto& text = way.failing; !text.empty() && text != "each") {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number == 0) {
      terminal.error(Error({}, fmt::format("--fail-allocation '{}'", text)).with_hint("a number from 1, or each"));
      return kUsage;
    }
  }
  LKM_TRY(const auto folder, state_folder(arguments));
  LKM_TRY(auto client, control::Client::connect(folder));
  if (source_kind(what) == SourceKind::kName) return load_last(client, terminal, what, *parameters, way);
  LKM_TRY(const auto place, place_of(folder, client));
  const auto made = make_plugins(what, place, terminal, Speed::kKbuild);
  if (!made) return explain(terminal, made.error());
  // Parameters are for the last: the others are there because it depends on them.
  for (const Plugin& plugin : made->plugins) {
    if (&plugin == &made->plugins.back()) return load_last(client, terminal, plugin.path, *parameters, way);
    LKM_CHECK(load_one(client, terminal, plugin.path, "", way));
  }
  return kDone;
}

}  // namespace

extern const Verb kLoad;
const Verb kLoad = {
    .name = "load",
    .summary = "load a module",
    .operands = "NAME|DIR|FILE [PARAM=VALUE]...",
    .description =
        "Loads a module into the running stack: an in-tree one by NAME (with what it depends on), the "
        "module in the folder DIR after building it, or a built FILE (.ko, or a plugin .so). If it "
        "cannot be loaded, nothing stays, and the kernel's own log lines say why.\n\n"
        "A copy of the stack is taken first, and kept for three seconds. If the stack dies of the module in "
        "that time, or stalls, it goes on in that copy, as it was before. With --no-snapshot it starts again "
        "with its configuration.\n\n"
        "With --fail-allocation N, the kernel refuses the Nth allocation that the module's init makes, by itself "
        "or in a function that it calls, and the place of it is told. With each, the module is loaded again and "
        "again, with the first allocation refused, then the second, until it makes no more: so every error path "
        "of its init has run. Exit status 1 if the stack died of one.",
    .options = {{.name = "fail-allocation", .value = "N|each", .help = "let an allocation of its init fail"},
                {.name = "no-snapshot", .help = "take no copy of the stack to go back to if it dies"}},
    .examples = {{"lkm-run load vegas alpha=3", "an in-tree congestion control"},
                 {"lkm-run load ./mycc", "build and load"},
                 {"lkm-run load ./mycc --fail-allocation each", "run every error path of its init"}},
    .least = 1,
    .most = kAny,
    .complete = Operand::kFile,
    .run = run,
};

}  // namespace lkm::cli
