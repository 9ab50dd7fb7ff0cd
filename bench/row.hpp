// SPDX-License-Identifier: GPL-2.0
//
// What a benchmark says: one row for each thing measured.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::bench {

/// What must be reached.
struct Floor {
  enum class Of { kRatioAtLeast, kRatioAtMost, kOursAtMost };
  Of of;
  double limit;
};

struct Row {
  std::string name;
  std::string unit;
  double ours = 0;
  std::string peer;              ///< what it is compared with; "" for nothing
  std::optional<double> theirs;  ///< the peer's value, measured in the same run
  std::optional<Floor> floor;

  [[nodiscard]] std::optional<double> ratio() const;  ///< ours / theirs
  [[nodiscard]] bool missed() const;
};

nlohmann::json to_json(const Row& row);
Result<Row> row_from_json(const nlohmann::json& object);

/// A table for people; one line a row.
std::string table(const std::vector<Row>& rows);

/// The value in the middle; of an even number the upper one. The list must not be empty.
double median(std::vector<double> values);

}  // namespace lkm::bench
