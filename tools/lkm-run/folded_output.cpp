// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/folded_output.hpp"

#include <algorithm>
#include <vector>

namespace lkm::cli {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

bool has(std::string_view line, std::string_view word) { return line.find(word) != std::string_view::npos; }

// "mycc.c:3:5: error: …", "ERROR: modpost: …", "ld.lld: error: …", "… undefined reference to …"
bool is_error(std::string_view line) {
  return has(line, "error: ") || line.starts_with("ERROR: ") || has(line, "undefined reference");
}
bool is_warning(std::string_view line) { return has(line, "warning: ") || line.starts_with("WARNING: "); }

// "  12 |   code" and "     |   ^~~~" of gcc and of clang.
bool is_source(std::string_view line) {
  const std::size_t bar = line.find_first_not_of(" 0123456789");
  return bar != std::string_view::npos && bar > 0 && line[bar] == '|';
}

}  // namespace

FoldedOutput fold(std::string_view output) {
  const auto lines = lines_of(output);
  if (lines.empty()) return {};
  auto first = std::ranges::find_if(lines, is_error);
  if (first == lines.end()) first = std::ranges::find_if(lines, is_warning);
  if (first == lines.end()) first = lines.begin();
  const auto last = std::find_if_not(first + 1, lines.end(), is_source);
  FoldedOutput folded{.shown = std::string(*first),
                      .hidden = lines.size() - static_cast<std::size_t>(last - first)};
  for (auto line = first + 1; line != last; ++line) folded.shown.append("\n").append(*line);
  return folded;
}

std::string_view last_lines(std::string_view text, std::size_t count) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  for (std::size_t at = text.size(); at > 0; --at) {
    if (text[at - 1] == '\n' && --count == 0) return text.substr(at);
  }
  return text;
}

}  // namespace lkm::cli
