// SPDX-License-Identifier: GPL-2.0
#include <cstdlib>

#include "tools/lkm-run/program.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(const auto folder, state_folder(arguments));
  const std::string netns = arguments.value("netns");
  const std::string place = netns.empty() ? folder.name() : fmt::format("{}/{}", folder.name(), netns);
  // bash's own start files set PS1 after us; PROMPT_COMMAND they leave alone. Any other shell shows PS1.
  const std::string prompt = fmt::format("[{}] ", place);
  ::setenv("PS1", fmt::format("{}$ ", prompt).c_str(), 1);
  ::setenv("PROMPT_COMMAND", fmt::format("[[ $PS1 == '{0}'* ]] || PS1='{0}'$PS1", prompt).c_str(), 1);
  const char* shell = std::getenv("SHELL");
  return become_program(arguments, terminal, {shell != nullptr && *shell != '\0' ? shell : "/bin/sh"});
}

}  // namespace

extern const Verb kShell;
const Verb kShell = {
    .name = "shell",
    .summary = "a shell on a stack",
    .operands = "",
    .description =
        "Runs $SHELL as 'lkm-run exec' runs a program: what is started in it is on the stack. Its prompt says so, "
        "and $LKM_RUN_STACK names the stack and the namespace.",
    .options = {{.name = "netns", .value = "NETNS", .help = "in this namespace of the stack"},
                {.name = "limits", .value = "LIMITS",
                 .help = "what it may have of the stack, as in sockets=100,memory=4MiB,calls=16"}},
    .examples = {{"lkm-run shell", "a shell on the stack \"default\""},
                 {"lkm-run shell --netns client", "in a namespace of it"}},
    .run = run,
};

}  // namespace lkm::cli
