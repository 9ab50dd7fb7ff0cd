// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/help.hpp"

#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  if (arguments.has("man")) {
    terminal.text(man_page());
    return kDone;
  }
  if (arguments.operands().empty()) {
    terminal.text(long_help());
    return kDone;
  }
  const std::string& name = arguments.operand(0);
  if (const Verb* verb = find_verb(name)) {
    terminal.text(long_help(*verb));
    return kDone;
  }
  terminal.error(Error({}, fmt::format("no verb '{}'", name)).with_hint("lkm-run -h"));
  return kUsage;
}

}  // namespace

extern const Verb kHelp;
const Verb kHelp = {
    .name = "help",
    .summary = "help on a verb; the man page",
    .operands = "[VERB]",
    .description = "Prints the help of a verb, or of the whole command.",
    .options = {{.name = "man", .help = "the man page, as troff text"}},
    .examples = {{"lkm-run help watch", "as lkm-run watch --help"},
                 {"lkm-run help --man | man -l -", "read the man page"}},
    .most = 1,
    .run = run,
};

}  // namespace lkm::cli
