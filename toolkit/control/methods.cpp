// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/methods.hpp"

#include <unistd.h>

#include <algorithm>
#include <set>

#include "toolkit/control/kernel_log.hpp"

namespace lkm::control {
namespace {

using std::chrono::steady_clock;

std::int64_t since_ns(steady_clock::time_point start) {
  return std::chrono::nanoseconds(steady_clock::now() - start).count();
}

Json boot_chart(const Stack& stack) {
  Json stages = Json::array();
  for (const BootStage& stage : stack.boot_chart()) {
    stages.push_back({{"name", stage.name}, {"end_ns", stage.end.count()}});
  }
  return stages;
}

namespace fs = std::filesystem;

std::vector<std::string> available_modules(const Stack& stack) {
  std::set<std::string> names;
  for (const fs::path& folder : stack.options().module_path) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (entry.path().extension() == ".so") names.insert(entry.path().stem());
    }
  }
  return {names.begin(), names.end()};
}

// People say "vegas" and "netem" for tcp_vegas and sch_netem, as sysctl and tc do.
std::string module_called(const std::string& name, const Stack& stack) {
  const auto names = available_modules(stack);
  if (std::ranges::count(names, name) > 0) return name;
  for (const char* prefix : {"tcp_", "sch_"}) {
    if (std::ranges::count(names, prefix + name) > 0) return prefix + name;
  }
  return name;
}

// What the kernel logged goes as events; an error of Stack has it in its text, too.
Failure without_log(Error error) {
  const std::string what = error.what().substr(0, error.what().find("\n  kernel: "));
  return Failure(Error(error.code(), what).with_hint(error.hint()));
}

Result<StatePolicy> state_policy(const std::string& name) {
  if (name == "keep") return StatePolicy::kKeep;
  if (name == "reinit") return StatePolicy::kReinit;
  if (name == "drain") return StatePolicy::kDrain;
  if (name == "reset") return StatePolicy::kReset;
  return fail_hint(EINVAL, "keep, reinit, drain and reset are there", "state policy '{}'", name);
}

// Every change of a module is watched; with a copy of the stack if the client wants it.
Result<Guard> guard_of(const Json& params) {
  LKM_TRY(const bool snapshot, bool_param(params, "snapshot", false));
  return Guard{.snapshot = snapshot, .watch = true};
}

// With "fail_allocation": what came of it, also when the load failed of that.
Result<Json> load_failing(Stack& stack, const std::string& what, LoadOptions options, unsigned number) {
  FailingAllocation failing{.number = number};
  options.failing = &failing;
  const auto module = stack.load(what, options);
  if (!module && !failing.reached) return without_log(module.error());
  Json result{{"number", number}, {"reached", failing.reached}, {"place", failing.place}};
  if (module) {
    result["module"] = to_json(*module);
  } else {
    result["refused"] = without_log(module.error()).value().what();
    result["errno"] = module.error().errno_value();
  }
  return result;
}

void add_modules(Server& server, Stack& stack) {
  server.add("modules.available", [&stack](Call&) -> Result<Json> {
    return Json{{"modules", available_modules(stack)}};
  });
  server.add("modules", [&stack](Call&) -> Result<Json> {
    LKM_TRY(const auto modules, stack.modules());
    Json list = Json::array();
    for (const ModuleInfo& module : modules) list.push_back(to_json(module));
    return Json{{"modules", std::move(list)}};
  });
  server.add("ledger", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto name, string_param(call.params(), "name"));
    LKM_TRY(const auto ledger, stack.ledger(module_called(name, stack)));
    Json entries = Json::array();
    for (const LedgerEntry& entry : ledger.entries) entries.push_back(to_json(entry));
    return Json{{"entries", std::move(entries)}, {"complete", ledger.complete}};
  });
  server.add(
      "load",
      [&stack](Call& call) -> Result<Json> {
        LKM_TRY(const auto what, string_param(call.params(), "what"));
        LKM_TRY(const auto parameters, string_param(call.params(), "parameters", ""));
        LKM_TRY(const Guard guard, guard_of(call.params()));
        LKM_TRY(const auto failing, integer_param(call.params(), "fail_allocation", 0));
        if (failing < 0 || failing > INT32_MAX) return fail(EINVAL, "\"fail_allocation\" counts from 1");
        const LoadOptions options{.parameters = parameters, .guard = guard};
        if (failing != 0) return load_failing(stack, module_called(what, stack), options, unsigned(failing));
        const auto start = steady_clock::now();
        const auto module = stack.load(module_called(what, stack), options);
        if (!module) return without_log(module.error());
        return Json{{"module", to_json(*module)}, {"load_ns", since_ns(start)}};
      },
      Server::With::kKernelLog);
  server.add(
      "unload",
      [&stack](Call& call) -> Result<Json> {
        LKM_TRY(const auto name, string_param(call.params(), "name"));
        LKM_TRY(const Guard guard, guard_of(call.params()));
        const auto start = steady_clock::now();
        LKM_CHECK(stack.unload(name, guard));
        return Json{{"unload_ns", since_ns(start)}};
      },
      Server::With::kKernelLog);
  server.add(
      "swap",
      [&stack](Call& call) -> Result<Json> {
        LKM_TRY(const auto plugin, string_param(call.params(), "plugin"));
        LKM_TRY(auto parameters, string_param(call.params(), "parameters", ""));
        LKM_TRY(const auto state, string_param(call.params(), "state", "keep"));
        LKM_TRY(const auto policy, state_policy(state));
        LKM_TRY(const Guard guard, guard_of(call.params()));
        const auto report = stack.swap(plugin, {.state = policy,
                                                .snapshot = guard.snapshot,
                                                .watch = guard.watch,
                                                .parameters = std::move(parameters)});
        if (!report) return without_log(report.error());
        return to_json(*report);
      },
      Server::With::kKernelLog);
}

// What modules on probation did: all that is known, and with "follow" what comes.
void add_incidents(Server& server, Stack& stack) {
  server.add("incidents", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const bool follow, bool_param(call.params(), "follow", false));
    LKM_TRY(const auto after, integer_param(call.params(), "after", 0));
    for (auto number = std::uint64_t(std::max<std::int64_t>(after, 0));;) {
      if (!follow && number >= stack.incidents().size()) return Json::object();
      LKM_TRY(const Incident incident, stack.wait_incident(number));
      number = incident.number;
      LKM_CHECK(call.event({{"incident", to_json(incident)}}));
    }
  });
}

void add_sysctl(Server& server, Stack& stack) {
  server.add("sysctl", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto name, string_param(call.params(), "name"));
    LKM_TRY(const auto netns, string_param(call.params(), "netns", ""));
    // A request has a fiber of its own, so nobody else changes namespaces with it.
    if (!netns.empty()) LKM_CHECK(stack.netns_enter(netns));
    if (call.params().contains("value")) {
      LKM_TRY(const auto value, string_param(call.params(), "value"));
      LKM_CHECK(stack.sysctl(name, value));
      auto now = stack.sysctl(name);
      // vm.drop_caches and the like are for writing only.
      const bool for_writing = !now && now.error().errno_value() == EACCES;
      if (!now && !for_writing) return Failure(std::move(now).error());
      return Json{{"name", name}, {"value", for_writing ? value : *now}};
    }
    LKM_TRY(const auto value, stack.sysctl(name));
    return Json{{"name", name}, {"value", value}};
  });
}

void add_log(Server& server, Stack& stack) {
  server.add("log", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const bool follow, bool_param(call.params(), "follow", false));
    LKM_TRY(KernelLog log, KernelLog::open(stack, KernelLog::From::kOldest));
    LKM_TRY(const auto records, log.read_available());
    for (const LogRecord& record : records) LKM_CHECK(call.event({{"log", to_json(record)}}));
    while (follow) {
      LKM_TRY(const LogRecord record, log.wait_next());
      LKM_CHECK(call.event({{"log", to_json(record)}}));
    }
    return Json::object();
  });
}

void add_netns(Server& server, Stack& stack) {
  server.add("netns.list",
             [&stack](Call&) -> Result<Json> { return Json{{"netns", stack.netns_list()}}; });
  server.add("netns.add", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto name, string_param(call.params(), "name"));
    LKM_CHECK(stack.netns_add(name));
    return Json::object();
  });
  server.add("netns.del", [&stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto name, string_param(call.params(), "name"));
    LKM_CHECK(stack.netns_del(name));
    return Json::object();
  });
}

}  // namespace

Json to_json(const About& about, const Stack& stack) {
  const Stack::Options& options = stack.options();
  Json module_path = Json::array();
  for (const auto& folder : options.module_path) module_path.push_back(folder.string());
  return {{"name", about.name},
          {"version", about.version},
          {"release", stack.release()},
          {"pid", ::getpid()},
          {"uptime_ns", stack.now().count()},
          {"clock", options.clock == Clock::kVirtual ? "virtual" : "real"},
          {"seed", options.seed},
          {"memory", options.memory},
          {"library", options.library.string()},
          {"module_path", std::move(module_path)},
          {"cmdline", options.cmdline},
          {"mount", about.mount.string()},
          {"boot_chart", boot_chart(stack)}};
}

Json to_json(const ModuleInfo& module) {
  return {{"name", module.name},         {"build_id", module.build_id},
          {"path", module.path.string()}, {"generation", module.generation},
          {"refcount", module.refcount}, {"used_by", module.used_by},
          {"state", module.state},       {"size", module.size},
          {"why", module.why}};
}

Json to_json(const LedgerEntry& entry) {
  Json at = Json::object();
  if (!entry.place.empty()) {
    const SourceLine& line = entry.place.front();
    at = {{"function", line.function}, {"file", line.file}, {"line", line.line}, {"place", line.place()}};
  }
  return {{"kind", entry.kind},   {"count", entry.count}, {"bytes", entry.bytes}, {"verb", entry.verb},
          {"by", entry.function}, {"what", entry.what},   {"at", std::move(at)}};
}

Json to_json(const Incident& incident) {
  return {{"number", incident.number}, {"module", incident.module}, {"what", incident.what},
          {"done", incident.done},     {"runs", incident.runs},     {"took_ns", incident.took.count()}};
}

Json to_json(const SwapReport& report) {
  constexpr const char* kMethods[] = {"renewed", "moved", "reloaded"};
  return {{"module", report.module},
          {"method", kMethods[static_cast<int>(report.method)]},
          {"not_in_place", report.not_in_place},
          {"init_changed", report.init_changed},
          {"variables_kept", report.variables_kept},
          {"builds_mapped", report.builds_mapped},
          {"states_kept", report.states_kept},
          {"state_remarks", report.state_remarks},
          {"reset", report.reset},
          {"snapshot_ns", report.snapshot.count()},
          {"check_ns", report.check.count()},
          {"quiesce_ns", report.quiesce.count()},
          {"from_generation", report.from_generation},
          {"to_generation", report.to_generation},
          {"sockets", report.sockets},
          {"established", report.established},
          {"netns_defaults", report.netns_defaults},
          {"map_ns", report.map.count()},
          {"init_ns", report.init.count()},
          {"transfer_ns", report.transfer.count()},
          {"blackout_ns", report.blackout.count()},
          {"retire_ns", report.retire.count()}};
}

void add_methods(Server& server, Stack& stack, About about, std::function<void()> end) {
  server.add("about", [&stack, about = std::move(about)](Call&) -> Result<Json> {
    return to_json(about, stack);
  });
  add_modules(server, stack);
  add_incidents(server, stack);
  add_sysctl(server, stack);
  add_log(server, stack);
  add_netns(server, stack);
  server.add("down", [end = std::move(end)](Call& call) -> Result<Json> {
    call.then(end);
    return Json::object();
  });
}

}  // namespace lkm::control
