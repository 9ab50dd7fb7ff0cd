// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  LKM_TRY(auto client, connect(arguments));
  for (const std::string& operand : arguments.operands()) {
    Json params = {{"name", operand}};
    if (const std::size_t equals = operand.find('='); equals != std::string::npos) {
      params["name"] = operand.substr(0, equals);
      params["value"] = operand.substr(equals + 1);
    } else if (arguments.has("write")) {
      terminal.error(Error({}, fmt::format("'{}' has no value to write", operand)).with_hint("write NAME=VALUE"));
      return kUsage;
    }
    if (arguments.has("netns")) params["netns"] = arguments.value("netns");
    LKM_TRY(const Json result, client.call("sysctl", std::move(params)));
    if (terminal.json()) {
      terminal.object(result);
    } else {
      terminal.line(fmt::format("{} = {}", result["name"].get<std::string>(),
                                result["value"].get<std::string>()));
    }
  }
  return kDone;
}

}  // namespace

extern const Verb kSysctl;
const Verb kSysctl = {
    .name = "sysctl",
    .summary = "read and write kernel settings of a stack",
    .operands = "NAME[=VALUE]...",
    .description =
        "Works as sysctl(8) does on the host; after a write it prints the value that the kernel took. "
        "Settings below net.* belong to a network namespace; without --netns they are the first one's.",
    .options = {{.name = "write", .letter = 'w', .help = "refuse a NAME without a value, as sysctl -w"},
                {.name = "netns", .value = "NETNS", .help = "the namespace"}},
    .examples = {{"lkm-run sysctl net.ipv4.tcp_available_congestion_control", "what there is"},
                 {"lkm-run sysctl -w net.ipv4.tcp_congestion_control=mycc", "for new sockets"}},
    .least = 1,
    .most = kAny,
    .run = run,
};

}  // namespace lkm::cli
