// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const auto& operands = arguments.operands();
  const std::string what = operands.empty() ? "ls" : operands[0];
  if ((what == "ls") != (operands.size() < 2)) {
    terminal.error(Error({}, what == "ls" ? "'netns ls' takes no name"
                                          : fmt::format("'netns {}' needs the name of a namespace", what))
                       .with_hint("lkm-run netns -h"));
    return kUsage;
  }
  LKM_TRY(auto client, connect(arguments));
  if (what == "ls") {
    LKM_TRY(const Json result, client.call("netns.list"));
    for (const Json& name : result["netns"]) {
      if (terminal.json()) {
        terminal.object({{"netns", name}});
      } else {
        terminal.line(name.get<std::string>());
      }
    }
    return kDone;
  }
  for (std::size_t i = 1; i < operands.size(); ++i) {
    LKM_CHECK(client.call("netns." + what, {{"name", operands[i]}}));
    if (terminal.json()) terminal.object({{what, operands[i]}});
  }
  return kDone;
}

}  // namespace

extern const Verb kNetns;
const Verb kNetns = {
    .name = "netns",
    .summary = "network namespaces of a stack",
    .operands = "[ls | add NAME... | del NAME...]",
    .description =
        "A stack begins with one namespace, which has no name. Named ones are hosts of their own "
        "inside the stack, with their own addresses, routes and sockets; `lkm-run link` connects them.",
    .options = {},
    .examples = {{"lkm-run netns add client server", "make two"}, {"lkm-run netns", "list them"}},
    .most = kAny,
    .words = {"ls", "add", "del"},
    .run = run,
};

}  // namespace lkm::cli
