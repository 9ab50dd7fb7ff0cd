// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/preamble.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lkm {
namespace {

namespace fs = std::filesystem;

// Takes logical lines, without comments, off the front of a C source.
class Lines {
 public:
  explicit Lines(std::string_view source) : left_(source) {}

  /// False at the end of the source.
  bool next(std::string& line) {
    line.clear();
    if (left_.empty()) return false;
    char quote = 0;
    while (!left_.empty()) {
      const char c = left_[0];
      if (left_.starts_with("\\\n")) {
        left_.remove_prefix(2);
      } else if (quote == 0 && left_.starts_with("/*")) {
        const std::size_t end = left_.find("*/", 2);
        left_.remove_prefix(end == std::string_view::npos ? left_.size() : end + 2);
        line += ' ';
      } else if (quote == 0 && left_.starts_with("//")) {
        left_.remove_prefix(std::min(left_.find('\n'), left_.size()));
      } else if (c == '\n') {
        left_.remove_prefix(1);
        break;
      } else if (quote != 0 && c == '\\' && left_.size() > 1) {
        line += left_.substr(0, 2);
        left_.remove_prefix(2);
      } else {
        if (quote == 0 && (c == '"' || c == '\'')) {
          quote = c;
        } else if (c == quote) {
          quote = 0;
        }
        line += c;
        left_.remove_prefix(1);
      }
    }
    const std::size_t first = line.find_first_not_of(" \t\r\f\v");
    const std::size_t last = line.find_last_not_of(" \t\r\f\v");
    line = first == std::string::npos ? "" : line.substr(first, last - first + 1);
    return true;
  }

 private:
  std::string_view left_;
};

std::string_view directive_of(std::string_view line) {
  line.remove_prefix(1);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return line.substr(0, line.find_first_of(" \t\"<("));
}

// "word -include FILE word" without the options, each of which is a word of its own or a pair.
struct Words {
  std::string kept;
  std::string included;  // as #include lines
};

Words split(std::string_view command, const fs::path& header, const fs::path& directory) {
  Words words;
  const auto take = [&] {
    const std::string_view word = command.substr(0, command.find(' '));
    command.remove_prefix(std::min(command.size(), word.size() + 1));
    return word;
  };
  while (!command.empty()) {
    const std::string_view word = take();
    if (word.empty() || word.starts_with("-Wp,-MMD,")) continue;
    if (word == "-include") {
      if (words.included.empty()) words.kept += fmt::format(" -include {}", header.native());
      words.included += fmt::format("#include \"{}\"\n", (directory / take()).native());
      continue;
    }
    if (!words.kept.empty()) words.kept += ' ';
    words.kept += word;
  }
  return words;
}

}  // namespace

std::string preamble_of(std::string_view source) {
  Lines lines(source);
  std::string preamble;
  std::size_t end = 0;  // of what is wanted
  int depth = 0;
  bool includes = false;  // since `end`
  for (std::string line; lines.next(line);) {
    if (line.empty()) continue;
    if (line[0] != '#') break;
    const std::string_view directive = directive_of(line);
    if (directive.starts_with("if")) ++depth;
    if (directive == "endif") --depth;
    if (directive == "include") includes = true;
    preamble += line;
    preamble += '\n';
    if (depth == 0 && includes) {
      end = preamble.size();
      includes = false;
    }
  }
  preamble.resize(end);
  return preamble;
}

PreambleCommands preamble_commands(std::string_view recorded, std::string_view preamble,
                                   const fs::path& header, const fs::path& directory) {
  // ccache would look for the whole of the headers itself, and is no faster than the rest.
  if (recorded.starts_with("ccache ")) recorded.remove_prefix(7);
  const std::size_t output = recorded.rfind(" -c -o ");
  const Words options = split(recorded.substr(0, output), header, directory);
  const fs::path source(recorded.substr(recorded.rfind(' ') + 1));

  PreambleCommands commands;
  commands.header = options.included;
  commands.header += preamble;
  std::string prepare = options.kept;
  const std::string include = fmt::format(" -include {}", header.native());
  if (const std::size_t at = prepare.find(include); at != std::string::npos) {
    prepare.erase(at, include.size());
  }
  commands.prepare = fmt::format("{} -iquote {} -x c-header -o {}.gch {}", prepare,
                                 source.parent_path().native(), header.native(), header.native());
  commands.compile = fmt::format("{} -Winvalid-pch{}", options.kept, recorded.substr(output));
  return commands;
}

}  // namespace lkm
