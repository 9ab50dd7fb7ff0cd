// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/stack_file.hpp"

#include <algorithm>
#include <map>
#include <span>

#include "toolkit/base/file.hpp"
#include "toolkit/base/toml_table.hpp"
#include "toolkit/net/ip.hpp"
#include "toolkit/net/units.hpp"

namespace lkm::control {
namespace {

namespace fs = std::filesystem;

enum class What { kText, kNumber, kRate, kTime, kShare, kPrefix, kAddress, kPath, kSource };

struct Key {
  std::string_view name;
  What what = What::kText;
  bool required = false;
  std::string_view param = {};  ///< in the request, if it has another name there
};

struct Kind {
  std::string_view table;  ///< "[[link]]"
  std::string_view method;
  std::vector<Key> keys;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"netns", "netns.add", {{.name = "name", .required = true}}},
      {"link",
       "link.add",
       {{.name = "a", .required = true},
        {.name = "b", .required = true},
        {.name = "rate", .what = What::kRate},
        {.name = "delay", .what = What::kTime},
        {.name = "jitter", .what = What::kTime},
        {.name = "loss", .what = What::kShare},
        {.name = "queue", .what = What::kNumber},
        {.name = "mtu", .what = What::kNumber}}},
      {"device",
       "device.add",
       {{.name = "name", .required = true},
        {.name = "tap"},
        {.name = "packet"},
        {.name = "cable", .what = What::kPath},
        {.name = "memif", .what = What::kPath},
        {.name = "role"},
        {.name = "uplink"},
        {.name = "pcap", .what = What::kPath},
        {.name = "pcap-out", .what = What::kPath, .param = "pcap_out"},
        {.name = "pace"},
        {.name = "mac"},
        {.name = "netns"},
        {.name = "address", .what = What::kPrefix},
        {.name = "gateway", .what = What::kAddress},
        {.name = "mtu", .what = What::kNumber}}},
      {"capture",
       "capture.start",
       {{.name = "netns"},
        {.name = "device", .required = true},
        {.name = "file", .what = What::kPath, .required = true},
        {.name = "snap", .what = What::kNumber},
        {.name = "count", .what = What::kNumber}}},
      {"address",
       "address.add",
       {{.name = "netns"}, {.name = "device", .required = true}, {.name = "address", .what = What::kPrefix, .required = true}}},
      {"route",
       "route.add",
       {{.name = "netns"}, {.name = "to", .what = What::kPrefix}, {.name = "gateway", .what = What::kAddress, .required = true}}},
      {"module",
       "load",
       {{.name = "source", .what = What::kSource, .required = true, .param = "what"}, {.name = "parameters"}}},
  };
  return all;
}

std::string_view param_of(const Key& key) { return key.param.empty() ? key.name : key.param; }

/// The text itself, once it is known to be good.
template <auto parse>
Result<std::string> good(std::string_view text) {
  LKM_CHECK(parse(text));
  return std::string(text);
}

Result<Json> read_key(TomlTable& table, const Key& key, const fs::path& folder) {
  std::string text;
  switch (key.what) {
    case What::kNumber: {
      std::uint32_t number = 0;
      LKM_CHECK(table.get(key.name, number));
      return Json(number);
    }
    case What::kRate:
      LKM_CHECK(table.get(key.name, text, good<parse_rate>));
      break;
    case What::kTime:
      LKM_CHECK(table.get(key.name, text, good<parse_duration>));
      break;
    case What::kShare:
      LKM_CHECK(table.get(key.name, text, good<parse_fraction>));
      break;
    case What::kPrefix:
    case What::kAddress:
      LKM_CHECK(table.get(key.name, text, good<IpPrefix::parse>));
      break;
    case What::kPath:
      LKM_CHECK(table.get(key.name, text));
      text = (folder / text).lexically_normal();
      break;
    case What::kSource:
      LKM_CHECK(table.get(key.name, text));
      // As `lkm-run load` takes it: a name of the kernel's tree, or a path if it has a slash.
      if (text.find('/') != std::string::npos) text = (folder / text).lexically_normal();
      break;
    case What::kText:
      LKM_CHECK(table.get(key.name, text));
      break;
  }
  return Json(text);
}

Result<Command> read_table(const toml::table& from, const Kind& kind, const std::string& shown, const fs::path& folder) {
  TomlTable table(from, shown, fmt::format("a {}", kind.table));
  Command command{std::string(kind.method), Json::object(), table.where()};
  for (const Key& key : kind.keys) {
    if (key.required) LKM_CHECK(table.require(key.name));
    LKM_TRY(Json value, read_key(table, key, folder));
    if (from.contains(key.name)) command.params[std::string(param_of(key))] = std::move(value);
  }
  LKM_CHECK(table.done());
  if (kind.table == "device") {
    const auto has = [&](const char* wire) { return command.params.contains(wire); };
    const auto wires = std::ranges::count_if(std::array{"tap", "packet", "cable", "memif", "uplink"}, has);
    if (wires + (has("pcap") || has("pcap_out")) != 1)
      return table.refuse(from.source(), "a device needs one of tap, packet, cable, memif, uplink and pcap");
  }
  return command;
}

/// Of the first namespace, and in tables of others by their names.
Result<void> read_sysctls(const toml::table& table, const std::string& netns, const std::string& shown,
                          std::vector<Command>& commands) {
  for (const auto& [key, value] : table) {
    const auto& place = value.source().begin;
    const std::string where = fmt::format("{}:{}:{}", shown, place.line, place.column);
    if (const auto* inner = value.as_table(); inner != nullptr && netns.empty()) {
      LKM_CHECK(read_sysctls(*inner, std::string(key.str()), shown, commands));
      continue;
    }
    Json params{{"name", std::string(key.str())}};
    if (!netns.empty()) params["netns"] = netns;
    if (const auto* text = value.as_string()) {
      params["value"] = **text;
    } else if (const auto* number = value.as_integer()) {
      params["value"] = fmt::format("{}", **number);
    } else {
      return Failure(Error({}, fmt::format("{}: the sysctl '{}' must be text or a whole number", where, key.str()))
                         .with_hint("put the name in quotes: \"net.ipv4.tcp_ecn\" = 1"));
    }
    commands.push_back({"sysctl", std::move(params), where});
  }
  return {};
}

}  // namespace

Result<std::vector<Command>> parse_stack_file(std::string_view text, const std::string& shown, const fs::path& folder) {
  LKM_TRY(const toml::table root, parse_toml(text, shown));
  TomlTable top(root, shown, "a stack");
  std::vector<Command> commands;
  for (const Kind& kind : kinds()) {
    LKM_TRY(const toml::node* node, top.find(kind.table));
    if (node == nullptr) continue;
    if (!node->is_array_of_tables()) return top.refuse(node->source(), "'{0}' must be tables: [[{0}]]", kind.table);
    for (const toml::node& one : *node->as_array()) {
      LKM_TRY(auto command, read_table(*one.as_table(), kind, shown, folder));
      commands.push_back(std::move(command));
    }
  }
  LKM_TRY(const toml::node* sysctls, top.find("sysctl"));
  if (sysctls != nullptr) {
    if (!sysctls->is_table()) return top.refuse(sysctls->source(), "'sysctl' must be a table: [sysctl]");
    LKM_CHECK(read_sysctls(*sysctls->as_table(), "", shown, commands));
  }
  LKM_CHECK(top.done());
  return commands;
}

Result<std::vector<Command>> read_stack_file(const fs::path& file) {
  LKM_TRY(const std::string text, read_file(file));
  return parse_stack_file(text, file.string(), fs::absolute(file).parent_path());
}

std::string to_stack_file(const std::vector<Command>& commands) {
  std::string text;
  for (const Kind& kind : kinds()) {
    for (const Command& command : commands) {
      if (command.method != kind.method) continue;
      text += fmt::format("{}[[{}]]\n", text.empty() ? "" : "\n", kind.table);
      for (const Key& key : kind.keys) {
        const auto value = command.params.find(std::string(param_of(key)));
        if (value == command.params.end() || *value == "") continue;
        text += fmt::format("{} = {}\n", key.name,
                            value->is_string() ? toml_quoted(value->get<std::string>()) : value->dump());
      }
    }
  }
  std::map<std::string, std::string> sysctls;  // by namespace; the first one comes first
  for (const Command& command : commands) {
    if (command.method != "sysctl" || !command.params.contains("value")) continue;
    sysctls[command.params.value("netns", std::string())] +=
        fmt::format("{} = {}\n", toml_quoted(command.params.value("name", std::string())),
                    toml_quoted(command.params.value("value", std::string())));
  }
  for (const auto& [netns, lines] : sysctls) {
    text += fmt::format("{}[sysctl{}]\n{}", text.empty() ? "" : "\n",
                        netns.empty() ? "" : fmt::format(".{}", toml_quoted(netns)), lines);
  }
  return text;
}

}  // namespace lkm::control
