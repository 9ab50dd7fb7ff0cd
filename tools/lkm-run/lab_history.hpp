// SPDX-License-Identifier: GPL-2.0
//
// LabHistory: the runs of `lkm-run watch --lab`, in a folder of the cache, `lab/MODULE/MODULE@GENERATION`. Those of the same
// source folder and the same scenario can be compared with each other, also when the watch was begun anew between them.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

class LabHistory {
 public:
  using Time = std::chrono::system_clock::time_point;

  /// So many runs of a module are kept: those that were saved last.
  static constexpr std::size_t kKept = 20;

  /// In `place`, of the module in `source`, and a scenario as its words are on the command line.
  LabHistory(std::filesystem::path place, std::filesystem::path source, std::string scenario)
      : place_(std::move(place)), source_(std::move(source)), scenario_(std::move(scenario)) {}

  struct Run {
    std::string name;  ///< "mycc@3"
    Time saved;
    std::filesystem::path folder;
  };
  /// Those of this source and scenario, from old to new. What has no note of add(), or not all of its files, is none.
  [[nodiscard]] std::vector<Run> runs() const;
  /// Where the results of that run go.
  [[nodiscard]] std::filesystem::path folder(const std::string& name) const { return place_ / name; }
  /// Its results are there: notes what they are of, and removes the runs that are too many.
  Result<void> add(const std::string& name, Time saved) const;

 private:
  std::filesystem::path place_, source_;
  std::string scenario_;
};

}  // namespace lkm::cli
