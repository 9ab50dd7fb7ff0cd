// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(auto client, connect(arguments));
  LKM_TRY(const Json about, client.call("about"));
  const std::string mount = about["mount"];
  if (mount.empty()) {
    const std::string name = about["name"];
    return Failure(Error({}, fmt::format("stack '{}' was started without a mount", name))
                       .with_hint(fmt::format("lkm-run down --name {0} && lkm-run up --name {0}", name)));
  }
  if (terminal.json()) {
    terminal.object({{"mount", mount}});
  } else {
    terminal.line(mount);
  }
  return kDone;
}

}  // namespace

extern const Verb kMount;
const Verb kMount = {
    .name = "mount",
    .summary = "where the stack's /proc and /sys are",
    .operands = "",
    .description =
        "Prints the folder on this machine under which the stack's proc/ and sys/ are mounted, for use "
        "in other commands.",
    .options = {},
    .examples = {{"cat $(lkm-run mount)/proc/net/tcp", "the stack's TCP sockets"},
                 {"ls $(lkm-run mount)/sys/class/net", "its network devices"}},
    .run = run,
};

}  // namespace lkm::cli
