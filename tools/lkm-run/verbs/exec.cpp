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
        "the program cannot gain any either, so sudo and the like do not work in it.\n\n"
        "--limits takes sockets=N, memory=SIZE (in the buffers of its sockets) and calls=N (threads that make calls), "
        "separated by commas: for the program with all that it starts, and no more than 'up --limits' says. What is beyond "
        "fails with ENFILE or ENOBUFS, and the stack's log says so.",
    .options = {{.name = "netns", .value = "NETNS", .help = "in this namespace of the stack"},
                {.name = "limits", .value = "LIMITS",
                 .help = "what it may have of the stack, as in sockets=100,memory=4MiB,calls=16"}},
    .examples = {{"lkm-run exec ip addr", "the addresses of the stack"},
                 {"lkm-run exec --netns server -- python3 -m http.server 80", "a server in a namespace"},
                 {"lkm-run exec --netns client -- curl http://10.0.0.2/", "and its client in another"},
                 {"lkm-run exec --limits sockets=100,memory=4MiB -- ./untrusted", "no more of the stack than that"}},
    .least = 1,
    .most = kAny,
    .command = true,
    .run = run,
};

}  // namespace lkm::cli
