// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/probation.hpp"

#include <elf.h>

#include <algorithm>
#include <filesystem>

#include "libos-runtime/host/fiber.hpp"
#include "libos-runtime/host/modules.hpp"
#include "libos-runtime/host/stack_impl.hpp"
#include "toolkit/base/file.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// Between looks at the tasks inside the module, and how long one must have been in there to be stuck.
constexpr auto kLook = 100ms;
constexpr auto kStuck = 1s;

/// The name of the module in a plugin file. Errors: as parse_plugin().
Result<std::string> module_in(const fs::path& path) {
  LKM_TRY(const auto file, Mapping::file(path.string()));
  LKM_TRY(const auto facts, parse_plugin(file.bytes(), path.string()));
  return facts.name;
}

}  // namespace

std::string Incident::text() const { return fmt::format("{}; {}; {}", what, done, runs); }

// -- begin and end --------------------------------------------------------------------------------------------------

/// Takes the copy; gives how long that took. In the copy, when it goes on: the error that the change ends with.
Result<nanoseconds> Stack::begin_probation(Change change) {
  Runtime& runtime = *impl_->runtime;
  nanoseconds took{};
  if (change.snapshot) {
    const auto start = host_ns();
    LKM_TRY(const auto side, runtime.take_snapshot());
    if (side == Snapshot::Side::kCopy) return as_before(change);
    took = nanoseconds(host_ns() - start);
    LKM_CHECK(panic_on_oops());
  } else {
    runtime.snapshot().drop();  // of the change before: it knows nothing of this one's success
    if (auto& user = impl_->panic_on_oops) (void)sysctl("kernel.panic_on_oops", *std::exchange(user, std::nullopt));
  }
  ++impl_->probations;
  impl_->change = std::move(change);
  impl_->change->oopses = impl_->oopses;
  impl_->warnings.clear();
  impl_->storm.clear();
  return took;
}

/// An oops of a task alone leaves behind what it had locked: going back, or starting again, is better.
Result<void> Stack::panic_on_oops() {
  auto& user = impl_->panic_on_oops;  // the user's setting, while ours is in force
  if (!user) {
    LKM_TRY(user, sysctl("kernel.panic_on_oops"));
  }
  return sysctl("kernel.panic_on_oops", "1");
}

/// In the copy: nothing of the change has happened.
Failure Stack::as_before(const Change& change) {
  const Snapshot& snapshot = impl_->runtime->snapshot();
  if (auto& user = impl_->panic_on_oops) (void)sysctl("kernel.panic_on_oops", *std::exchange(user, std::nullopt));
  impl_->change.reset();
  Incident incident{.module = change.module,
                    .what = snapshot.why(),
                    .done = fmt::format("the stack goes on as it was before the {}", change.verb()),
                    .runs = what_runs(change.module),
                    .took = impl_->runtime->since_death()};
  const Failure failure =
      fail_hint(ENOTRECOVERABLE, "lkm-run log shows what the kernel said",
                "{}: {}; the stack died of it and is as it was before; {}", change.shown, incident.what, incident.runs);
  note_incident(std::move(incident));
  // What the other one's kernel said is nowhere else. Of a level that is not printed: the console has had it.
  log(snapshot.log(), 7);
  return failure;
}

/// The new code runs, so it is watched from now on. Tried again at the change's end, when this fails.
Result<void> Stack::serves_on_probation(const std::string& module) {
  if (!impl_->change || impl_->change->module != module || impl_->change->serves) return {};
  LKM_CHECK(panic_on_oops());
  LKM_TRY(impl_->watcher, spawn("probation", [this, number = impl_->probations] {
            watch_probation(number);
            end_probation(number);
          }));
  impl_->change->serves = true;
  return {};
}

/// The change has come to its end, with success.
Result<void> Stack::keep_probation(std::chrono::milliseconds length) {
  LKM_CHECK(serves_on_probation(impl_->change->module));
  // It may have run for a moment before that; and an oops of an init, which is contained, makes no success.
  if (impl_->oopses != impl_->change->oopses) impl_->runtime->die(impl_->fault);
  impl_->change->until = now() + length;
  return {};
}

void Stack::end_probation(unsigned number) {
  if (number != impl_->probations || !impl_->change) return;
  impl_->runtime->snapshot().drop();
  impl_->runtime->watch_code({});
  impl_->change.reset();
  if (auto& user = impl_->panic_on_oops) (void)sysctl("kernel.panic_on_oops", *std::exchange(user, std::nullopt));
}

// -- watching ---------------------------------------------------------------------------------------------------------

void Stack::watch_probation(unsigned number) {
  std::map<int, InsideSince> tasks;
  const auto on_probation = [&] { return number == impl_->probations && impl_->change; };
  while (on_probation() && now() < impl_->change->until) {
    if (!impl_->storm.empty() && impl_->change->until != kForever) return take_back(number);
    (void)park(std::min(impl_->change->until, now() + kLook));
    if (on_probation()) look_for_stuck_tasks(tasks);
  }
}

/// Goes on in the copy when there is a task that will never come out of the module.
void Stack::look_for_stuck_tasks(std::map<int, InsideSince>& tasks) {
  struct Look {
    Stack* stack;
    std::map<int, InsideSince>* tasks;
    std::string stuck;
  } look{this, &tasks, {}};
  for (auto& [pid, task] : tasks) task.seen = false;
  impl_->runtime->kernel().module_inside(
      impl_->change->module.c_str(),
      [](void* cookie, const libos_inside* task) noexcept {
        auto& [stack, known, stuck] = *static_cast<Look*>(cookie);
        const auto time = stack->now();
        auto& since = (*known)[task->pid];
        const bool waits = task->locked != 0 && task->switches == since.switches;
        const bool runs = task->runnable != 0 && task->is_thread == 0 && task->calls == since.calls;
        since.seen = true;
        if (!waits && !runs) {
          since = {time, task->switches, task->calls, task->runtime_ns, true};
          return;
        }
        const bool busy = nanoseconds(task->runtime_ns - since.runtime_ns) > kStuck / 3;
        if (time - since.since < kStuck || !stuck.empty() || (!waits && !busy)) return;
        const auto place = stack->impl_->traces.place(task->ip);
        stuck = fmt::format("{} in {}, in task {} ({})",
                            waits ? "it waits for ever for a lock" : "it does not come out of a system call",
                            place ? place->text : "the module", task->pid, task->name);
      },
      &look);
  std::erase_if(tasks, [](const auto& entry) { return !entry.second.seen; });
  if (!look.stuck.empty()) impl_->runtime->die(look.stuck);
}

/// A back trace was printed. From any context of the kernel.
void Stack::Impl::take_trace(const libos_trace& trace) {
  const auto seen = traces.trace(trace);
  if (!seen) return;
  switch (seen->kind) {
    case ModuleTraces::Kind::kFault:
      ++oopses;
      fault = seen->text;
      if (!failed_at.empty()) fault += fmt::format(", after an allocation in {} had failed", failed_at);
      return runtime->note_cause(fault);
    case ModuleTraces::Kind::kPanic: {
      // One of an oops is told already, and better.
      const bool of_oops = runtime->panic().find("Fatal exception") != std::string::npos ||
                           runtime->panic().find("Attempted to kill") != std::string::npos;
      if (of_oops) return;
      return runtime->note_cause(seen->place ? fmt::format("{} in {}", runtime->panic(), seen->place->text)
                                             : runtime->panic());
    }
    case ModuleTraces::Kind::kFailed:
      failed_at = seen->place ? seen->place->text : "";
      return;
    default:
      break;
  }
  if (!change || !seen->place || seen->place->module != change->module) return;
  if (seen->kind == ModuleTraces::Kind::kAtomic) {
    if (runtime->snapshot().there()) runtime->die(seen->text);
    storm = seen->text;
    watcher.unpark();
    return;
  }
  const StackTime now(runtime->now());
  warnings.push_back(now);
  while (now - warnings.front() > 1s) warnings.pop_front();
  if (warnings.size() <= kStorm || !storm.empty()) return;
  storm = fmt::format("more than {} warnings within a second, as in {}", kStorm, seen->place->text);
  watcher.unpark();
}

/// While a change is on probation: the CPU must come out of this code again.
void Stack::Impl::watch_code_of(const LoadedPlugin& plugin) {
  if (!change || plugin.file.facts().name != change->module) return;
  for (const auto& segment : plugin.file.segments()) {
    if ((segment.flags & PF_X) == 0) continue;
    runtime->watch_code({reinterpret_cast<const std::byte*>(segment.at), segment.size});
  }
}

/// The stack is sound, so nothing that happened since needs to be forgotten.
void Stack::take_back(unsigned number) {
  const Change change = *impl_->change;
  Incident incident{.module = change.module, .what = impl_->storm, .done = {}, .runs = {}, .took = {}};
  const auto start = host_ns();
  Result<void> taken_back;
  switch (change.kind) {
    case Change::Kind::kLoad:
      taken_back = unload_on_fiber(change.module);
      incident.done = "it was unloaded";
      break;
    case Change::Kind::kSwap: {
      std::error_code ignored;
      if (!fs::exists(change.before, ignored)) {
        taken_back = replace_file(change.before,
                                  {reinterpret_cast<const char*>(change.bytes.data()), change.bytes.size()});
      }
      if (taken_back) {
        if (auto report = swap_on_fiber(change.before, {}); !report) taken_back = Failure(std::move(report).error());
      }
      incident.done = fmt::format("swapped back to the build of {}@{}", change.module, change.generation);
      break;
    }
    case Change::Kind::kUnload:
      return;
  }
  if (!taken_back) {
    if (impl_->runtime->snapshot().there()) impl_->runtime->die(incident.what);
    incident.done = fmt::format("it could not be taken back: {}", taken_back.error().what());
  }
  end_probation(number);
  incident.runs = what_runs(change.module);
  incident.took = nanoseconds(host_ns() - start);
  note_incident(std::move(incident));
}

// -- what it was ------------------------------------------------------------------------------------------------------

/// "mycc@2 serves"
std::string Stack::what_runs(const std::string& module) {
  if (const auto* plugin = impl_->find(module)) return fmt::format("{}@{} serves", module, plugin->generation);
  return fmt::format("'{}' is not loaded", module);
}

void Stack::note_incident(Incident incident) {
  incident.number = impl_->incidents.size() + 1;
  log("lkm-run: " + incident.text());
  impl_->incidents.push_back(std::move(incident));
  for (libos_task* waiter : impl_->incident_waiters) impl_->runtime->kernel().unpark(waiter);
}

const std::vector<Incident>& Stack::incidents() const { return impl_->incidents; }

Result<Incident> Stack::wait_incident(std::uint64_t number) {
  while (impl_->incidents.size() <= number) {
    libos_task* self = impl_->runtime->kernel().self();
    impl_->incident_waiters.push_back(self);
    const bool woken = park();
    std::erase(impl_->incident_waiters, self);
    if (!woken) return fail(EINTR, "wait for an incident");
  }
  return impl_->incidents[number];
}

// -- the three changes ------------------------------------------------------------------------------------------------

Result<ModuleInfo> Stack::load(const std::string& what, const LoadOptions& options) {
  return impl_->on_fiber([&] {
    return options.guard.snapshot || options.guard.watch
               ? load_guarded(what, options)
               : load_on_fiber(what, options.parameters, options.failing);
  });
}

Result<ModuleInfo> Stack::load_guarded(const std::string& what, const LoadOptions& options) {
  const std::string shown = fs::path(what).filename().string();
  const std::string stem = canonical(fs::path(shown).stem().string());
  LKM_CHECK(begin_probation({.kind = Change::Kind::kLoad,
                             .snapshot = options.guard.snapshot,
                             .shown = fmt::format("load '{}'", shown),
                             .module = module_in(what).value_or(stem)}));
  const unsigned number = impl_->probations;
  auto loaded = load_on_fiber(what, options.parameters, options.failing);
  if (!loaded) {
    end_probation(number);
    return loaded;
  }
  LKM_CHECK(keep_probation(options.guard.probation));
  return loaded;
}

Result<void> Stack::unload(const std::string& name, const Guard& guard) {
  return impl_->on_fiber([&] {
    return guard.snapshot || guard.watch ? unload_guarded(name, guard) : unload_on_fiber(name);
  });
}

Result<void> Stack::unload_guarded(const std::string& name, const Guard& guard) {
  LKM_CHECK(begin_probation({.kind = Change::Kind::kUnload,
                             .snapshot = guard.snapshot,
                             .shown = fmt::format("unload '{}'", name),
                             .module = canonical(name)}));
  const unsigned number = impl_->probations;
  if (const auto* plugin = impl_->find(canonical(name))) impl_->watch_code_of(*plugin);
  auto unloaded = unload_on_fiber(name);
  if (!unloaded) {
    end_probation(number);
    return unloaded;
  }
  return keep_probation(guard.probation);
}

Result<SwapReport> Stack::swap(const fs::path& plugin, const SwapOptions& options) {
  return impl_->on_fiber([&] {
    return options.snapshot || options.watch ? swap_guarded(plugin, options) : swap_on_fiber(plugin, options);
  });
}

Result<SwapReport> Stack::swap_guarded(const fs::path& plugin, const SwapOptions& options) {
  LKM_TRY(const auto module, module_in(plugin));
  Change change{.kind = Change::Kind::kSwap,
                .snapshot = options.snapshot,
                .shown = fmt::format("swap to '{}'", plugin.filename().string()),
                .module = module};
  if (const auto* before = impl_->find(module)) {
    change.before = before->file.path();
    change.bytes = copy_of(before->file.bytes());
    change.generation = before->generation;
  }
  LKM_TRY(const auto took, begin_probation(std::move(change)));
  const unsigned number = impl_->probations;
  yield();
  auto report = swap_on_fiber(plugin, options);
  if (!report) {
    end_probation(number);
    return report;
  }
  report->snapshot = took;
  LKM_CHECK(keep_probation(options.probation));
  return report;
}

}  // namespace lkm
