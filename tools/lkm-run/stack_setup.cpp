// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/stack_setup.hpp"

#include <map>

#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/stack_client.hpp"

namespace lkm::cli {
namespace {

std::string text(const Json& params, const char* name) {
  const auto value = params.find(name);
  if (value == params.end()) return "";
  return value->is_string() ? value->get<std::string>() : value->dump();
}

}  // namespace

std::string by_hand(const control::Command& command) {
  const Json& params = command.params;
  std::string line;
  const auto add = [&](std::initializer_list<const char*> options) {
    for (const char* option : options) {
      if (params.contains(option)) line += fmt::format(" --{} {}", option, text(params, option));
    }
  };
  if (command.method == "netns.add") return "lkm-run netns add " + text(params, "name");
  if (command.method == "link.add") {
    line = fmt::format("lkm-run link add {} {}", text(params, "a"), text(params, "b"));
    add({"rate", "delay", "jitter", "loss", "queue", "mtu"});
  } else if (command.method == "device.add") {
    line = "lkm-run device add " + text(params, "name");
    add({"tap", "packet", "cable", "memif", "role", "uplink", "pcap"});
    if (params.contains("pcap_out")) line += " --pcap-out " + text(params, "pcap_out");
    add({"pace", "netns", "address", "gateway", "mtu", "mac"});
  } else if (command.method == "capture.start") {
    line = fmt::format("lkm-run capture {} -w {} --background", text(params, "device"), text(params, "file"));
    add({"netns", "snap", "count"});
  } else if (command.method == "address.add") {
    line = "lkm-run exec";
    add({"netns"});
    line += fmt::format(" ip address add {} dev {}", text(params, "address"), text(params, "device"));
  } else if (command.method == "route.add") {
    line = "lkm-run exec";
    add({"netns"});
    const std::string to = text(params, "to");
    line += fmt::format(" ip route add {} via {}", to.empty() ? "default" : to, text(params, "gateway"));
  } else if (command.method == "load") {
    line = fmt::format("lkm-run load {} {}", text(params, "what"), text(params, "parameters"));
  } else if (command.method == "sysctl") {
    line = fmt::format("lkm-run sysctl -w {}={}", text(params, "name"), text(params, "value"));
    add({"netns"});
  }
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

Result<void> set_up(const std::vector<control::Command>& commands, const control::StateFolder& folder,
                    control::Client& client, Terminal& terminal) {
  LKM_TRY(const auto place, place_of(folder, client));
  std::map<const control::Command*, Made> built;
  for (const control::Command& command : commands) {
    if (command.method != "load" || source_kind(text(command.params, "what")) == SourceKind::kName) continue;
    LKM_TRY(built[&command], make_plugins(text(command.params, "what"), place, terminal, Speed::kKbuild));
  }
  for (const control::Command& command : commands) {
    const auto request = [&](Json params) -> Result<void> {
      auto done = call(client, terminal, command.method, std::move(params));
      if (!done) return Failure(std::move(done).error().while_doing(fmt::format("{}: {}", command.where, by_hand(command))));
      return {};
    };
    const auto made = built.find(&command);
    if (made == built.end()) {
      LKM_CHECK(request(command.params));
      continue;
    }
    // Parameters are for the last: the others are there because it depends on them.
    for (const Plugin& plugin : made->second.plugins) {
      Json params{{"what", plugin.path}};
      if (made->second.build) params["source"] = made->second.build->folder().string();
      if (&plugin == &made->second.plugins.back()) params["parameters"] = text(command.params, "parameters");
      LKM_CHECK(request(std::move(params)));
    }
  }
  return {};
}

}  // namespace lkm::cli
