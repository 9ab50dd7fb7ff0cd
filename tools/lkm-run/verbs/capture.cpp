// SPDX-License-Identifier: GPL-2.0
#include <unistd.h>

#include <filesystem>

#include "tools/lkm-run/lab_scenario.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

constexpr unsigned kWholePackets = 262144;  // as tcpdump has it

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const auto misused = [&](Error error) {
    terminal.error(std::move(error).with_hint("lkm-run capture -h"));
    return kUsage;
  };
  if (arguments.has("stop") == !arguments.operands().empty()) return misused(Error({}, "of which device?"));
  if (!arguments.has("write")) return misused(Error({}, "where to? -w FILE, or -w - for a pipe"));
  const std::string file = arguments.value("write");
  const bool background = arguments.has("background") || arguments.has("stop");
  if (background && file == "-") return misused(Error({}, "a capture in the background needs a file"));
  if (file == "-" && ::isatty(STDOUT_FILENO) != 0) return misused(Error({}, "a capture is nothing for a terminal"));
  unsigned snap = kWholePackets, count = 0;
  for (const auto& read : {read_number(arguments, "snap", snap), read_number(arguments, "count", count)}) {
    if (!read) return misused(read.error());
  }
  // The stack process has a working folder and a standard output of its own.
  const std::string there =
      file == "-" ? fmt::format("/proc/{}/fd/1", ::getpid()) : std::filesystem::absolute(file).string();
  LKM_TRY(auto client, connect(arguments));
  Json result;
  if (arguments.has("stop")) {
    LKM_TRY(result, client.call("capture.stop", {{"file", there}}));
  } else {
    Json params{{"device", arguments.operand(0)}, {"netns", arguments.value("netns")}, {"file", there}, {"snap", snap}, {"count", count}};
    LKM_TRY(result, client.call(background ? "capture.start" : "capture", std::move(params), [&](const Json& event) {
      terminal.transient(fmt::format("{} packets", event["capture"].value("packets", 0)));
    }));
    if (background) return kDone;
  }
  const auto dropped = result.value("dropped", std::uint64_t{0});
  terminal.note(fmt::format("{} packets{}", result.value("packets", 0),
                            dropped == 0 ? "" : fmt::format(", {} dropped: more than could be written", dropped)));
  return kDone;
}

}  // namespace

extern const Verb kCapture;
const Verb kCapture = {
    .name = "capture",
    .summary = "write what passes a device to a pcap file",
    .operands = "[DEVICE]",
    .description =
        "Captures the packets of a device of the stack, both ways, until Ctrl-C or until there are --count of them. An "
        "outgoing packet is seen when it leaves the queue; one of many segments that are not cut yet is one packet. "
        "tcpdump, tshark and wireshark read the file, also while it is written.\n\n"
        "With --background the stack goes on capturing by itself, until --stop of the same file, or its own end.",
    .options = {{.name = "write", .letter = 'w', .value = "FILE", .help = "where to; - is standard output, a pipe"},
                {.name = "netns", .value = "NETNS", .help = "of the device (default: the first one)"},
                {.name = "count", .letter = 'c', .value = "N", .help = "end after so many packets"},
                {.name = "snap", .value = "BYTES", .help = "of each packet (default: all)"},
                {.name = "background", .help = "begin, and return"},
                {.name = "stop", .help = "end the one in the background that writes this file"}},
    .examples = {{"lkm-run capture link0 --netns client -w out.pcap", "of a link's end"},
                 {"lkm-run capture eth0 -w all.pcap --background", "until the stack ends, or:"},
                 {"lkm-run capture --stop -w all.pcap", "until now"},
                 {"lkm-run capture eth0 -w - | tcpdump -nr - tcp port 80", "read as it comes"}},
    .least = 0,
    .most = 1,
    .run = run,
};

}  // namespace lkm::cli
