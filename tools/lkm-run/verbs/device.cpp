// SPDX-License-Identifier: GPL-2.0
#include <charconv>
#include <filesystem>

#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

void show(const Terminal& terminal, const Json& devices) {
  if (terminal.json()) {
    for (const Json& device : devices) terminal.object({{"device", device}});
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "WIRE", "CARRIER", "NETNS", "ADDRESS"}};
  for (const Json& device : devices) {
    rows.push_back({device.value("name", ""), device.value("wire", ""),
                    device.value("carrier", false) ? "on" : "off", device.value("netns", ""),
                    device.value("address", "")});
  }
  terminal.table(rows);
}

int refuse(Terminal& terminal, std::string text) {
  terminal.error(Error({}, std::move(text)).with_hint("lkm-run device -h"));
  return kUsage;
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const auto& operands = arguments.operands();
  const std::string what = operands.empty() ? "ls" : operands[0];
  if ((what == "ls") != (operands.size() < 2)) {
    return refuse(terminal, what == "ls" ? "'device ls' takes no name"
                                         : fmt::format("'device {}' needs the name of a device", what));
  }
  Json params = Json::object();
  if (what != "ls") params["name"] = operands[1];
  if (what == "add") {
    const bool pcap = arguments.has("pcap") || arguments.has("pcap-out");
    if (arguments.has("tap") + arguments.has("cable") + arguments.has("memif") + arguments.has("packet") + arguments.has("uplink") + pcap != 1) {
      return refuse(terminal, "'device add' needs one of --tap, --packet, --cable, --memif, --uplink and --pcap");
    }
    for (const char* name : {"tap", "packet", "role", "uplink", "pace", "netns", "address", "gateway", "mac"}) {
      if (arguments.has(name)) params[name] = arguments.value(name);
    }
    // The stack process has a working folder of its own.
    for (const auto& [option, name] : {std::pair("cable", "cable"), {"memif", "memif"}, {"pcap", "pcap"}, {"pcap-out", "pcap_out"}}) {
      if (arguments.has(option)) params[name] = std::filesystem::absolute(arguments.value(option)).string();
    }
    if (arguments.has("mtu")) {
      const std::string text = arguments.value("mtu");
      unsigned mtu = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mtu);
      if (error != std::errc() || end != text.data() + text.size()) {
        return refuse(terminal, fmt::format("--mtu: '{}' is no number", text));
      }
      params["mtu"] = mtu;
    }
  }

  LKM_TRY(auto client, connect(arguments));
  LKM_TRY(const Json result,
          client.call(what == "ls" ? "device.list" : "device." + what, std::move(params)));
  if (what == "ls") show(terminal, result["devices"]);
  if (what == "add") show(terminal, Json::array({result}));
  return kDone;
}

}  // namespace

extern const Verb kDevice;
const Verb kDevice = {
    .name = "device",
    .summary = "network devices that lead out of a stack",
    .operands = "[ls | add NAME | del NAME]",
    .description =
        "With --tap the wire is a tap device of the host: the stack and the host see each other as two "
        "machines on one Ethernet. That needs CAP_NET_ADMIN, or a tap that somebody with it has made "
        "for the user.\n\n"
        "With --packet the stack shares an Ethernet interface that the host has, a veth or a card: its device has an "
        "address of its own there. That needs CAP_NET_RAW.\n\n"
        "With --cable the wire goes to another stack that is given the same PATH, which takes no "
        "rights: the first end waits at the path, the second connects. When one stack ends, the other "
        "sees its carrier go, and waits there for the next.\n\n"
        "With --memif the wire goes to another program that speaks memif, such as VPP or DPDK's net_memif, whose socket is at "
        "PATH: frames pass through memory that both have. The stack is the memif's server or its client, as --role says; as "
        "the client it goes on trying until somebody listens.\n\n"
        "With --uplink programs on the stack reach the host's network, by sockets of the user who has the stack, and no "
        "rights. Connections and pings go out, none come in. 'host' includes servers on the host's own loopback, "
        "at 10.0.2.2.\n\n"
        "With --pcap the frames of a capture file come in, at the distances in time that it has, or as fast as the stack "
        "takes them; what the stack sends goes into the file of --pcap-out. A frame is for the stack if it was sent to "
        "the device's --mac.",
    .options = {{.name = "tap", .value = "TAP", .help = "the host's name of a tap device"},
                {.name = "packet", .value = "INTERFACE", .help = "an interface of the host to share"},
                {.name = "cable", .value = "PATH", .help = "where two stacks meet: a socket"},
                {.name = "memif", .value = "PATH", .help = "the socket of a memif"},
                {.name = "role", .value = "ROLE", .help = "of --memif (default: server)", .choices = {"server", "client"}},
                {.name = "uplink", .value = "REACH", .help = "to the host's network",
                 .choices = {"internet", "host"}},
                {.name = "pcap", .value = "FILE", .help = "a capture file, whose frames come in"},
                {.name = "pcap-out", .value = "FILE", .help = "for the frames that go out"},
                {.name = "pace", .value = "PACE", .help = "of --pcap (default: recorded)", .choices = {"recorded", "fast"}},
                {.name = "netns", .value = "NETNS", .help = "of the stack (default: the first one)"},
                {.name = "address", .value = "ADDRESS/LENGTH", .help = "as in 10.0.0.2/24"},
                {.name = "gateway", .value = "ADDRESS", .help = "for all that is not near"},
                {.name = "mtu", .value = "BYTES", .help = "default: 1500; of an uplink 65520"},
                {.name = "mac", .value = "MAC", .help = "as in 02:00:00:00:00:01 (default: a random one)"}},
    .examples = {{"lkm-run device add eth0 --tap tap0 --address 10.0.0.2/24", "a wire to the host"},
                 {"lkm-run device add eth0 --packet veth0 --address 10.0.0.2/24", "a place on the host's Ethernet"},
                 {"lkm-run device add eth0 --cable /tmp/cable --address 10.0.0.1/24",
                  "one end; the other likewise"},
                 {"lkm-run device add eth0 --memif vpp.sock --role client",
                  "a port of a switch in user space"},
                 {"lkm-run device add eth0 --uplink internet", "a way out for any user"},
                 {"lkm-run device add eth0 --pcap in.pcap --address 10.0.0.2/24",
                  "what was captured once"},
                 {"lkm-run device", "list them"}},
    .most = 2,
    .words = {"ls", "add", "del"},
    .run = run,
};

}  // namespace lkm::cli
