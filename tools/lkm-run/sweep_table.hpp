// SPDX-License-Identifier: GPL-2.0
//
// SweepTable: what the runs of a sweep came to, as CSV and as an SQLite database.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

struct SweepRun {
  std::vector<std::string> values;  ///< of the parameters, in their order
  std::vector<std::pair<std::string, double>> measures;
};

struct SweepTable {
  std::vector<std::string> parameters;  ///< "scenario", "cc", "seed"
  std::vector<SweepRun> runs;

  /// Writes runs.csv (a line for each run and measure), estimates.csv (over the seeds: mean, deviation, and the interval
  /// of 95 % confidence) and results.sqlite (both as tables) into the folder. Errors: as open(2), write(2); SQLite's.
  Result<void> write(const std::filesystem::path& folder) const;
};

}  // namespace lkm::cli
