// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/units.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(auto client, connect(arguments));
  for (const std::string& name : arguments.operands()) {
    LKM_TRY(const Json result, call(client, terminal, "unload",
                                    {{"name", name}, {"snapshot", !arguments.has("no-snapshot")}}));
    const std::chrono::nanoseconds duration(result["unload_ns"].get<std::int64_t>());
    if (terminal.json()) {
      terminal.object({{"unloaded", name}, {"unload_ns", duration.count()}});
    } else {
      terminal.line(fmt::format("{} unloaded in {}", name, format_duration(duration)));
    }
  }
  return kDone;
}

}  // namespace

extern const Verb kUnload;
const Verb kUnload = {
    .name = "unload",
    .summary = "unload a module",
    .operands = "NAME...",
    .description =
        "Unloads modules, in the order given. One that is in use stays, and its users are named: "
        "sockets of a congestion control, or modules that depend on it.\n\n"
        "A copy of the stack is taken first, and kept for three seconds. If the stack dies in that time, of an exit "
        "that leaves a timer behind, it goes on in that copy: the module is still loaded.",
    .options = {{.name = "no-snapshot", .help = "take no copy of the stack to go back to if it dies"}},
    .examples = {{"lkm-run unload mycc", "once no socket uses it"}},
    .least = 1,
    .most = kAny,
    .run = run,
};

}  // namespace lkm::cli
