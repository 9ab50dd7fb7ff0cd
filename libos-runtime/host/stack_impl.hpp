// SPDX-License-Identifier: GPL-2.0
//
// Stack::Impl: what the parts of Stack share. fiber.cpp has the fibers, modules.cpp and
// swap.cpp the modules, probation.cpp watches them, stack.cpp the rest.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "libos-runtime/host/devices.hpp"
#include "libos-runtime/host/module_traces.hpp"
#include "libos-runtime/host/plugin_file.hpp"
#include "libos-runtime/host/probation.hpp"
#include "libos-runtime/host/renewal.hpp"
#include "libos-runtime/host/runtime.hpp"

namespace lkm {

/// A plugin in the stack, from its mapping to its unmapping.
struct LoadedPlugin {
  LoadedPlugin(PluginFile mapped, ModuleTraces& known) : traces(known), file(std::move(mapped)) { traces.add(file); }
  LoadedPlugin(const LoadedPlugin&) = delete;
  LoadedPlugin& operator=(const LoadedPlugin&) = delete;
  ~LoadedPlugin() { traces.remove(file); }

  ModuleTraces& traces;

  PluginFile file;
  unsigned generation = 0;
  std::uint32_t build = 0;                     ///< what the kernel's ledger calls it; never used twice
  std::string given;                           ///< parameters at load, as typed
  std::map<std::string, std::string> initial;  ///< every readable parameter's value after init
  bool zombie = false;                         ///< it can never be unmapped: its init died, or `why`
  std::string kept_as, why;                    ///< what is left of it has this name, for that reason

  // A module that was renewed in place: several builds share its body (swap.cpp).
  std::vector<std::byte> pristine;   ///< PluginFile::writable() before init
  std::shared_ptr<ModuleBody> body;  ///< nullptr before the first renewal
  OldCode code;                      ///< when `retired`
  bool retired = false;              ///< a newer build has its place
  bool owns_variables = false;       ///< of the body, so it stays mapped
};

struct Stack::Impl final : LedgerHost {
  explicit Impl(std::unique_ptr<Runtime> machine) : runtime(std::move(machine)) {}

  /// On a fiber: directly. On another thread (embedded mode): on the thread's fiber.
  template <typename Function>
  auto on_fiber(Function function) -> decltype(function());

  std::unique_ptr<Runtime> runtime;
  std::string release;
  std::vector<BootStage> boot_chart;
  // Embedded mode.
  enum class Boot { kUnderWay, kUp, kFailed };
  std::atomic<Boot> boot{Boot::kUnderWay};
  std::string boot_error;
  std::jthread loop;  ///< uses the members above

  std::vector<std::unique_ptr<Device>> devices;

  // modules.cpp
  ModuleTraces traces;
  std::vector<std::unique_ptr<LoadedPlugin>> plugins;
  std::map<std::string, unsigned> generations;  ///< of each name, the last one given
  std::vector<std::pair<std::string, std::string>> aliases;  ///< pattern, module
  bool aliases_read = false;
  /// Kernel log lines since begin_log(), for error messages.
  std::string captured_log;
  int capturing = 0;

  std::set<std::string> swapping;  ///< names
  /// Renewals that interrupt tasks. Who was interrupted stays outside of the module until they are done, or
  /// it would be back in there at once.
  std::atomic<int> interrupting{0};

  // probation.cpp
  unsigned probations = 0;                   ///< that have begun
  std::optional<std::string> panic_on_oops;  ///< the user's, during a probation
  std::optional<Change> change;              ///< what is on probation
  Fiber watcher;                             ///< of the change
  std::deque<StackTime> warnings;            ///< of the module, within the last second
  std::string storm;                         ///< what is said of too many; empty: there are not
  unsigned oopses = 0;                       ///< since the boot
  std::string fault;                         ///< the last one, in words
  std::string failed_at;                     ///< the place of the last allocation that was made to fail
  std::vector<Incident> incidents;
  std::vector<libos_task*> incident_waiters;
  void take_trace(const libos_trace& trace);
  void watch_code_of(const LoadedPlugin& plugin);

  LoadedPlugin* find(const std::string& name);
  /// A plugin that the kernel does not have: unmaps it, unless something of it was left. True if it is gone, and perhaps
  /// was before, by unmap_freed().
  bool forget(const LoadedPlugin& plugin);
  void unmap_freed();

  // ledger.cpp
  void plugin_kept(void* plugin, const char* name, const char* why) override;
  std::string source_line(std::uint32_t build, std::uint64_t at) override;
  void look_for_pointers(void* plugin, std::span<libos_block> blocks) override;
  [[nodiscard]] std::vector<SourceLine> lines_of(std::uint32_t build, std::uintptr_t at) const;
  [[nodiscard]] Result<Ledger> read_ledger(const std::string& name) const;
  /// Before a build is unmapped: its module's ledger may have places in it.
  void keep_lines_of(const LoadedPlugin& plugin);
  struct OldLines {
    std::string module;
    std::vector<SourceLine> lines;
  };
  /// Places, by build and address, of builds that are mapped no more.
  std::map<std::pair<std::uint32_t, std::uintptr_t>, OldLines> old_lines;
  std::uint32_t builds = 0;  ///< numbers of LoadedPlugin::build given so far

  // swap.cpp
  int when_nobody_is_inside(const std::function<int(bool interrupt)>& attempt);
  Result<std::shared_ptr<ModuleBody>> body_of(Stack& stack, LoadedPlugin& plugin);
  std::vector<LoadedPlugin*> mapped_builds(const ModuleBody& body);
  /// A kind of objects (`object` nullptr), or one of a kind.
  struct KernelObject {
    libos_objects* kind = nullptr;
    std::byte* object = nullptr;
    std::string name;  ///< of a device
  };
  using Objects = std::vector<KernelObject>;
  int objects_of(const std::string& name, Objects& objects) const;
  [[nodiscard]] std::vector<std::string> devices_of(const std::string& name) const;
  void relocate(Relocation& relocation) const;
  [[nodiscard]] std::vector<HeldBlock> memory_of(const std::string& name) const;
  [[nodiscard]] AllocationSites sites_of(Stack& stack, const std::vector<HeldBlock>& held) const;
  void keep_sites_of(Stack& stack, const LoadedPlugin& plugin);
};

template <typename Function>
auto Stack::Impl::on_fiber(Function function) -> decltype(function()) {
  if (runtime->on_fiber()) return function();
  std::optional<decltype(function())> result;
  const long err = runtime->call([&] { result.emplace(function()); });
  if (err == -ESHUTDOWN) return fail(ESHUTDOWN, "the stack is not running");
  if (err != 0) return fail(int(-err), "the call ended by an oops");
  return std::move(*result);
}

}  // namespace lkm
