// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/program.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  return become_program(arguments, terminal, arguments.operands());
}

}  // namespace

extern const Verb kExec;
const Verb kExec = {
    .name = "exec",
    .summary = "run a program on a stack",
    .operands = "COMMAND [ARGUMENT]...",
    .description =
        "Runs a program as it is, with all that it starts: its sockets are the stack's, everything else is the "
        "host's. It keeps its terminal, signals, exit status, folder and environment, and its AF_UNIX sockets.\n\n"
        "Its system calls about sockets are caught by seccomp and run in the stack. That needs no privileges; "
        "the program cannot gain any either, so sudo and the like do not work in it.",
    .options = {{.name = "netns", .value = "NETNS", .help = "in this namespace of the stack"}},
    .examples = {{"lkm-run exec ip addr", "the addresses of the stack"},
                 {"lkm-run exec --netns server -- python3 -m http.server 80", "a server in a namespace"},
                 {"lkm-run exec --netns client -- curl http://10.0.0.2/", "and its client in another"}},
    .least = 1,
    .most = kAny,
    .command = true,
    .run = run,
};

}  // namespace lkm::cli
