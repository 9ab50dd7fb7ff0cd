// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/kbuild_files.hpp"

#include <algorithm>

namespace lkm {
namespace {

std::string_view next_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

// Undoes what Kbuild's escsq and make's own rules did to a saved command (scripts/Kbuild.include,
// make-cmd): "\#" and "$(pound)" stand for "#", "$$" for "$".
std::string unescape(std::string_view saved) {
  constexpr std::string_view kPound = "$(pound)";
  std::string command;
  while (!saved.empty()) {
    std::size_t taken = 1;
    char put = saved[0];
    if (saved.starts_with("\\#") || saved.starts_with("$$")) {
      put = saved[1];
      taken = 2;
    } else if (saved.starts_with(kPound)) {
      put = '#';
      taken = kPound.size();
    }
    command += put;
    saved.remove_prefix(taken);
  }
  return command;
}

}  // namespace

std::vector<std::filesystem::path> parse_modules_order(std::string_view text,
                                                       const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> modules;
  while (!text.empty()) {
    const std::filesystem::path entry = next_line(text);
    if (entry.extension() != ".o" && entry.extension() != ".ko") continue;
    auto module = (folder / entry).lexically_normal().replace_extension(".ko");
    if (std::find(modules.begin(), modules.end(), module) == modules.end()) {
      modules.push_back(std::move(module));
    }
  }
  return modules;
}

std::optional<std::string> saved_command(std::string_view text) {
  // "savedcmd_PATH := COMMAND"; up to 6.2 "cmd_PATH := COMMAND".
  const std::string_view line = next_line(text);
  const std::size_t assign = line.find(" := ");
  if (assign == std::string_view::npos) return std::nullopt;
  const std::string_view target = line.substr(0, assign);
  if (!target.starts_with("savedcmd_") && !target.starts_with("cmd_")) return std::nullopt;
  const std::string_view saved = line.substr(assign + 4);
  const std::size_t first = saved.find_first_not_of(' ');
  if (first == std::string_view::npos) return std::nullopt;
  return unescape(saved.substr(first, saved.find_last_not_of(' ') + 1 - first));
}

std::optional<CompileStep> parse_cmd(std::string_view text) {
  auto command = saved_command(text);
  if (!command || command->starts_with(';')) return std::nullopt;
  // What else is run comes after ";".
  command->resize(std::min(command->size(), command->find(" ;")));
  command->resize(command->find_last_not_of(' ') + 1);
  const std::size_t blank = command->rfind(' ');
  if (blank == std::string::npos || command->find(" -c ") == std::string::npos) {
    return std::nullopt;
  }
  const std::filesystem::path source = command->substr(blank + 1);
  if (source.extension() != ".c" && source.extension() != ".S") return std::nullopt;
  return CompileStep{.command = std::move(*command), .source = source};
}

std::vector<std::filesystem::path> saved_dependencies(std::string_view text) {
  // "deps_PATH := \", then one a line: "  FILE \" or "  $(wildcard include/config/X) \".
  std::vector<std::filesystem::path> files;
  bool listed = false;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    if (line.starts_with("deps_")) {
      listed = true;
      continue;
    }
    const std::size_t first = line.find_first_not_of(' ');
    if (!listed || first == std::string_view::npos) {
      listed = false;
      continue;
    }
    line.remove_prefix(first);
    line.remove_suffix(line.ends_with(" \\") ? 2 : 0);
    if (!line.starts_with("$(")) files.emplace_back(line);
  }
  return files;
}

}  // namespace lkm
