// SPDX-License-Identifier: GPL-2.0
//
// The methods of the control socket. Durations are integers in ns, sizes in bytes.
//
//   about                              → {release, pid, clock, memory, uptime_ns, boot_chart, …}
//   modules                            → {modules:[module…]}
//   modules.available                  → {modules:[name…]}, those that load takes by name
//   ledger   {name}                    → {entries:[entry…], complete}
//   load     {what, parameters?}       → {module, load_ns}            + log events
//   unload   {name}                    → {unload_ns}                  + log events
//   swap     {plugin, parameters?}     → SwapReport                   + log events
//   sysctl   {name, value?, netns?}    → {name, value}
//   log      {follow?}                 → {} after events {"log":record}
//   netns.list | netns.add {name} | netns.del {name}
//   down                               → {} and the stack ends
//
// A module: {name, build_id, generation, refcount, used_by, state, size, path, why}; `why` is what still needs the
// code of a zombie. What a module holds, an entry a place in its code: {kind, count, bytes, what, verb, by,
// at:{function, file, line, place}}, "2 timers pending, tick, armed by mod_timer at mycc.c:88".
// Those of links and flows are in network_methods.hpp.
#pragma once

#include <functional>

#include "toolkit/control/server.hpp"

namespace lkm::control {

/// What a stack tells of itself besides what Stack knows.
struct About {
  std::string name;
  std::string version;          ///< of lkm-run
  std::filesystem::path mount;  ///< where its /proc and /sys are; empty without
};

/// `end` asks the process to shut the stack down; it must return at once.
void add_methods(Server& server, Stack& stack, About about, std::function<void()> end);

/// What the method "about" answers.
Json to_json(const About& about, const Stack& stack);
Json to_json(const ModuleInfo& module);
Json to_json(const LedgerEntry& entry);
Json to_json(const SwapReport& report);
Json to_json(const Incident& incident);

}  // namespace lkm::control
