// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/module_source.hpp"
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<void> load_one(control::Client& client, Terminal& terminal, const std::string& what,
                      const std::string& parameters) {
  LKM_TRY(const Json loaded, call(client, terminal, "load", {{"what", what}, {"parameters", parameters}}));
  if (terminal.json()) {
    terminal.object({{"loaded", loaded}});
  } else {
    terminal.line(fmt::format("{} loaded in {}", generation_name(loaded["module"]),
                              format_duration(std::chrono::nanoseconds(loaded["load_ns"].get<std::int64_t>()))));
  }
  return {};
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const std::string& what = arguments.operand(0);
  const auto parameters = module_parameters(arguments.operands(), 1);
  if (!parameters) {
    terminal.error(parameters.error());
    return kUsage;
  }
  LKM_TRY(const auto folder, state_folder(arguments));
  LKM_TRY(auto client, control::Client::connect(folder));
  if (source_kind(what) == SourceKind::kName) {
    LKM_CHECK(load_one(client, terminal, what, *parameters));
    return kDone;
  }
  LKM_TRY(const auto place, place_of(folder, client));
  const auto made = make_plugins(what, place, terminal, Speed::kKbuild);
  if (!made) return explain(terminal, made.error());
  // Parameters are for the last: the others are there because it depends on them.
  for (const Plugin& plugin : made->plugins) {
    const bool last = &plugin == &made->plugins.back();
    LKM_CHECK(load_one(client, terminal, plugin.path, last ? *parameters : ""));
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
        "cannot be loaded, nothing stays, and the kernel's own log lines say why.",
    .options = {},
    .examples = {{"lkm-run load vegas alpha=3", "an in-tree congestion control"},
                 {"lkm-run load ./mycc", "build and load"}},
    .least = 1,
    .most = kAny,
    .complete = Operand::kFile,
    .run = run,
};

}  // namespace lkm::cli
