// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/ledger_table.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

// All that a stack tells of itself; "state" is up, dead (killed: down cleans it), or stuck.
Json look_at(const control::StateFolder& folder) {
  const auto owner = folder.owner();
  if (!owner) return {{"name", folder.name()}, {"state", "dead"}};
  Json stack = {{"name", folder.name()}, {"state", "stuck"}, {"pid", *owner}};
  auto client = control::Client::connect(folder, std::chrono::seconds(2));
  if (!client) return stack;
  const auto about = client->call("about");
  if (!about) return stack;
  const auto modules = client->call("modules");
  const auto netns = client->call("netns.list");
  if (!modules || !netns) return stack;
  stack.update(*about);
  stack["state"] = "up";
  stack["modules"] = (*modules)["modules"];
  stack["netns"] = (*netns)["netns"];
  return stack;
}

std::string users(const Json& module) {
  std::string text = fmt::format("{}", module.value("refcount", 0));
  for (const Json& user : module["used_by"]) text += " " + user.get<std::string>();
  return text;
}

void show(const Terminal& terminal, const Json& stack) {
  const std::string state = stack["state"];
  if (state != "up") {
    terminal.line(fmt::format("{} {}: {}", terminal.out(Paint::kBad, "○"), stack["name"].get<std::string>(),
                              state == "dead" ? "dead; lkm-run down cleans what it left"
                                              : "does not answer"));
    return;
  }
  const auto uptime = std::chrono::nanoseconds(stack["uptime_ns"].get<std::int64_t>());
  std::string text = fmt::format("{} {}: Linux {}, pid {}, up {}", terminal.out(Paint::kGood, "●"),
                                 terminal.out(Paint::kBold, stack["name"].get<std::string>()),
                                 stack["release"].get<std::string>(), stack["pid"].get<int>(),
                                 format_duration(uptime));
  if (stack["clock"] == "virtual") text += " (virtual time)";
  if (!stack["netns"].empty()) {
    text += fmt::format(", netns {}", fmt::join(stack["netns"].get<std::vector<std::string>>(), " "));
  }
  terminal.line(text);
  if (stack["modules"].empty()) return;
  std::vector<std::vector<std::string>> rows = {{"  MODULE", "USERS", "STATE", "SIZE", "BUILD"}};
  for (const Json& module : stack["modules"]) {
    rows.push_back({"  " + generation_name(module), users(module), module.value("state", ""),
                    format_size(module.value("size", std::uint64_t{0})),
                    module.value("build_id", "").substr(0, 12)});
  }
  terminal.table(rows);
  for (const Json& module : stack["modules"]) {
    const std::string why = module.value("why", "");
    if (!why.empty()) terminal.line(fmt::format("  {} stays: {}", module.value("name", ""), why));
  }
}

Result<int> show_available(const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(auto client, connect(arguments));
  LKM_TRY(const Json result, client.call("modules.available"));
  for (const Json& name : result["modules"]) {
    if (terminal.json()) {
      terminal.object({{"available", name}});
    } else {
      terminal.line(name.get<std::string>());
    }
  }
  return kDone;
}

Result<int> show_ledger_of(const std::string& name, const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(auto client, connect(arguments));
  LKM_TRY(const Json ledger, client.call("ledger", {{"name", name}}));
  if (!terminal.json()) {
    show_ledger(terminal, name, ledger);
    return kDone;
  }
  for (const Json& entry : ledger["entries"]) terminal.object({{"holds", entry}});
  return kDone;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  if (arguments.has("ledger")) return show_ledger_of(arguments.value("ledger"), arguments, terminal);
  if (arguments.has("available")) return show_available(arguments, terminal);
  std::vector<control::StateFolder> folders = control::StateFolder::all();
  if (arguments.has("name")) {
    LKM_TRY(const auto wanted, state_folder(arguments));
    std::erase_if(folders, [&](const auto& folder) { return folder.name() != wanted.name(); });
  }
  if (folders.empty() && !terminal.json()) terminal.note("no stack is up");
  for (const auto& folder : folders) {
    const Json stack = look_at(folder);
    if (terminal.json()) {
      terminal.object({{"stack", stack}});
    } else {
      show(terminal, stack);
    }
  }
  return kDone;
}

}  // namespace

extern const Verb kLs;
const Verb kLs = {
    .name = "ls",
    .summary = "stacks, their modules, generations and users",
    .operands = "",
    .description =
        "Lists the stacks of this user and the modules in each. mycc@3 is the third build of mycc "
        "that ran there. USERS counts what holds a reference (for a congestion control: sockets), and "
        "names the modules that depend on it.\n\n"
        "With --ledger, lists what a module holds: memory, timers, work, threads, entries in /proc and /sys, "
        "registrations of every kind; a line for each place in its code that has asked for some. Calls between a "
        "module and the kernel are seen; what a module does to its own memory, as taking a reference by an inline "
        "function, is not.",
    .options = {{.name = "ledger", .letter = 'l', .value = "NAME", .help = "what the module NAME holds, and who asked for it"},
                {.name = "available", .letter = 'a', .help = "the in-tree modules that can be loaded by name"}},
    .examples = {{"lkm-run ls", "all of them"},
                 {"lkm-run ls --ledger mycc", "what mycc holds, with source lines"},
                 {"lkm-run ls --json | jq .stack.modules", "for programs"}},
    .run = run,
};

}  // namespace lkm::cli
