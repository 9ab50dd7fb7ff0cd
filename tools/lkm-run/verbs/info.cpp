// SPDX-License-Identifier: GPL-2.0
#include <sys/utsname.h>

#include "tools/lkm-run/doctor.hpp"
#include "tools/lkm-run/image.hpp"
#include "toolkit/base/file.hpp"
#include "tools/lkm-run/stack_client.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

constexpr std::size_t kLogLines = 40;

std::string host() {
  utsname name{};
  if (::uname(&name) != 0) return "unknown";
  std::string text = fmt::format("{} {} {}", name.sysname, name.release, name.machine);
  if (const auto release = read_file("/etc/os-release")) {
    const std::size_t start = release->find("PRETTY_NAME=\"");
    if (start != std::string::npos) {
      const std::size_t begin = start + 13;
      text += ", " + release->substr(begin, release->find('"', begin) - begin);
    }
  }
  return text;
}

Json tool_info() {
  Json info = {{"lkm_run", LKM_RUN_VERSION},
               {"compiler", __VERSION__},
               {"host", host()},
               {"state_root", control::StateFolder::root().string()}};
  const auto home = home_folder();
  info["home"] = home ? home->string() : home.error().message();
  const auto image = find_image("");
  info["image"] = image ? image->path.string() : image.error().message();
  if (image && image->present) {
    if (const auto about = read_file(image->path / "about")) info["image_about"] = *about;
  }
  info["checks"] = Json::array();
  for (const Check& check : check_machine()) {
    if (check.state != Check::State::kGood) info["checks"].push_back(to_json(check));
  }
  return info;
}

Result<Json> stack_info(const Arguments& arguments) {
  LKM_TRY(auto client, connect(arguments));
  LKM_TRY(Json info, client.call("about"));
  LKM_TRY(const Json modules, client.call("modules"));
  info["modules"] = modules["modules"];
  std::vector<Json> records;
  LKM_CHECK(client.call("log", {{"follow", false}},
                        [&](const Json& event) { records.push_back(event["log"]); }));
  if (records.size() > kLogLines) records.erase(records.begin(), records.end() - kLogLines);
  info["log"] = records;
  return info;
}

// Nested lists as indented "key: value" lines.
void show(const Terminal& terminal, const Json& value, const std::string& name, std::size_t depth) {
  const std::string indent(depth * 2, ' ');
  if (value.is_object() || value.is_array()) {
    if (value.empty()) return terminal.line(fmt::format("{}{}: none", indent, name));
    terminal.line(fmt::format("{}{}:", indent, name));
    for (const auto& [key, member] : value.items()) {
      if (member.is_object() && member.contains("at_us")) {
        terminal.line(indent + "  " + log_line(terminal, member, &Terminal::out));
      } else if (value.is_array() && member.is_object()) {
        terminal.line(fmt::format("{}  - {}", indent, member.dump(-1, ' ', false, Json::error_handler_t::replace)));
      } else {
        show(terminal, member, value.is_array() ? "-" : key, depth + 1);
      }
    }
    return;
  }
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  while (text.ends_with('\n')) text.pop_back();
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += indent.size() + 3) {
    text.insert(at + 1, indent + "  ");
  }
  terminal.line(fmt::format("{}{}: {}", indent, name, text));
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  if (arguments.has("file")) {
    LKM_TRY(auto client, connect(arguments));
    LKM_TRY(const Json record, client.call("record"));
    terminal.json() ? terminal.object(record) : terminal.text(record.value("stack_file", ""));
    return kDone;
  }
  Json info = tool_info();
  const auto stack = stack_info(arguments);
  info["stack"] = stack ? *stack : Json(stack.error().message());
  if (terminal.json()) {
    terminal.object(std::move(info));
  } else {
    for (const auto& [key, value] : info.items()) show(terminal, value, key, 0);
  }
  return kDone;
}

}  // namespace

extern const Verb kInfo;
const Verb kInfo = {
    .name = "info",
    .summary = "all that a bug report needs",
    .operands = "",
    .description =
        "Prints versions, paths, what lkm-run doctor finds amiss, and of the stack its modules, boot "
        "times and last log lines. Read it before you publish it: it has paths and module names.",
    .options = {{.name = "file", .help = "the stack as a file for lkm-run up --file, as far as lkm-run made it"}},
    .examples = {{"lkm-run info > report.txt", "for a bug report"},
                 {"lkm-run info --file > stack.toml", "to make a stack like it"}},
    .run = run,
};

}  // namespace lkm::cli
