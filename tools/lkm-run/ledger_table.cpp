// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/ledger_table.hpp"

#include "toolkit/net/units.hpp"

namespace lkm::cli {
namespace {

std::string held(const Json& entry) {
  std::string text = fmt::format("{} {}", entry.value("count", std::uint64_t{0}), entry.value("kind", ""));
  if (const auto bytes = entry.value("bytes", std::uint64_t{0}); bytes > 0) text += ", " + format_size(bytes);
  return text;
}

std::string place(const Json& entry) {
  const Json& at = entry["at"];
  if (at.empty()) return "?";
  const std::string where = at.value("place", "");
  const std::string function = at.value("function", "");
  return at.value("line", 0) == 0 ? where : fmt::format("{} ({})", function, where);
}

}  // namespace

std::vector<std::vector<std::string>> ledger_rows(const Json& ledger) {
  std::vector<std::vector<std::string>> rows = {{"  HOLDS", "WHAT", "BY", "AT"}};
  for (const Json& entry : ledger["entries"]) {
    rows.push_back({"  " + held(entry), entry.value("what", ""), entry.value("by", ""), place(entry)});
  }
  return rows;
}

void show_ledger(const Terminal& terminal, const std::string& name, const Json& ledger) {
  if (ledger["entries"].empty()) {
    terminal.line(fmt::format("{} holds nothing", name));
  } else {
    terminal.line(fmt::format("{} holds", terminal.out(Paint::kBold, name)));
    terminal.table(ledger_rows(ledger));
  }
  if (!ledger.value("complete", true)) {
    terminal.note("there may be more: memory was short when it was recorded");
  }
}

}  // namespace lkm::cli
