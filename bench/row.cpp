// SPDX-License-Identifier: GPL-2.0
#include "bench/row.hpp"

#include <algorithm>

namespace lkm::bench {
namespace {

constexpr const char* kFloors[] = {"ratio_at_least", "ratio_at_most", "ours_at_most"};

// Three significant digits, and no more zeros than that needs.
std::string number(double value) {
  if (value >= 100) return fmt::format("{:.0f}", value);
  return fmt::format("{:.3g}", value);
}

std::string describe(const Row& row) {
  if (!row.floor) return "";
  const std::string limit = number(row.floor->limit);
  const char* verdict = row.missed() ? "MISSED" : "ok";
  switch (row.floor->of) {
    case Floor::Of::kRatioAtLeast:
      return fmt::format(">= {}x  {}", limit, verdict);
    case Floor::Of::kRatioAtMost:
      return fmt::format("<= {}x  {}", limit, verdict);
    case Floor::Of::kOursAtMost:
      return fmt::format("<= {} {}  {}", limit, row.unit, verdict);
  }
  return "";
}

}  // namespace

std::optional<double> Row::ratio() const {
  if (!theirs || *theirs == 0) return std::nullopt;
  return ours / *theirs;
}

bool Row::missed() const {
  if (!floor) return false;
  switch (floor->of) {
    case Floor::Of::kRatioAtLeast:
      return !ratio() || *ratio() < floor->limit;
    case Floor::Of::kRatioAtMost:
      return !ratio() || *ratio() > floor->limit;
    case Floor::Of::kOursAtMost:
      return ours > floor->limit;
  }
  return true;
}

nlohmann::json to_json(const Row& row) {
  nlohmann::json out = {{"v", 1}, {"name", row.name}, {"unit", row.unit}, {"ours", row.ours}};
  if (row.theirs) {
    out["peer"] = row.peer;
    out["theirs"] = *row.theirs;
    out["ratio"] = row.ratio().value_or(0);
  }
  if (row.floor) {
    out["floor"] = {{kFloors[static_cast<int>(row.floor->of)], row.floor->limit}};
    out["missed"] = row.missed();
  }
  return out;
}

Result<Row> row_from_json(const nlohmann::json& object) {
  if (!object.is_object() || !object.contains("name") || !object.contains("ours"))
    return fail(EBADMSG, "row of a benchmark: {}", object.dump());
  Row row;
  row.name = object.value("name", "");
  row.unit = object.value("unit", "");
  row.ours = object.value("ours", 0.0);
  row.peer = object.value("peer", "");
  if (object.contains("theirs")) row.theirs = object.value("theirs", 0.0);
  for (int of = 0; of < 3 && object.contains("floor"); ++of)
    if (object["floor"].contains(kFloors[of]))
      row.floor = Floor{static_cast<Floor::Of>(of), object["floor"].value(kFloors[of], 0.0)};
  return row;
}

std::string table(const std::vector<Row>& rows) {
  std::string out =
      fmt::format("{:<46} {:>14} {:>14} {:>8}  {}\n", "", "library", "peer", "ratio", "floor");
  for (const Row& row : rows) {
    const auto value = [&](double of) { return fmt::format("{} {}", number(of), row.unit); };
    std::string line = fmt::format("{:<46} {:>14} {:>14} {:>8}  {}", row.name, value(row.ours),
                                   row.theirs ? value(*row.theirs) : "",
                                   row.ratio() ? number(*row.ratio()) : "", describe(row));
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
    if (!row.peer.empty()) out += fmt::format("    against {}\n", row.peer);
  }
  return out;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace lkm::bench
