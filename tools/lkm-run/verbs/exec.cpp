// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/program.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  if (arguments.has("embed")) return embed_in_program(arguments, terminal, arguments.operands());
  for (const char* option : {"cable", "address", "gateway"}) {
    if (!arguments.has(option)) continue;
    terminal.error(Error({}, fmt::format("--{} is for a stack of its own: --embed", option)).with_hint("lkm-run exec -h"));
    return kUsage;
  }
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
        "fails with ENFILE or ENOBUFS, and the stack's log says so.\n\n"
        "With --embed the program has a stack of its own, inside of its process, by a library that is preloaded: "
        "its calls are function calls then, which is for benchmarks. It ends with the process, and a child that is "
        "forked off has no part in it; a --cable leads to another stack. docs/running-programs.md says what else does not work.",
    .options = {{.name = "netns", .value = "NETNS", .help = "in this namespace of the stack"},
                {.name = "limits", .value = "LIMITS",
                 .help = "what it may have of the stack, as in sockets=100,memory=4MiB,calls=16"},
                {.name = "embed", .help = "in a stack of its own, inside its process"},
                {.name = "cable", .value = "PATH", .help = "with --embed: a device eth0 that leads to another stack"},
                {.name = "address", .value = "ADDRESS/LENGTH", .help = "with --cable: of eth0"},
                {.name = "gateway", .value = "ADDRESS", .help = "with --cable: for all that is not near"}},
    .examples = {{"lkm-run exec ip addr", "the addresses of the stack"},
                 {"lkm-run exec --netns server -- python3 -m http.server 80", "a server in a namespace"},
                 {"lkm-run exec --netns client -- curl http://10.0.0.2/", "and its client in another"},
                 {"lkm-run exec --limits sockets=100,memory=4MiB -- ./untrusted", "no more of the stack than that"},
                 {"lkm-run exec --embed -- ./benchmark", "client and server in one process"}},
    .least = 1,
    .most = kAny,
    .command = true,
    .run = run,
};

}  // namespace lkm::cli
