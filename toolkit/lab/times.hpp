// SPDX-License-Identifier: GPL-2.0
//
// Times: any number of durations, counted by their size as HdrHistogram does it. Exact below 2 µs, and within a
// two-thousandth above.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace lkm::lab {

struct Times {
  std::vector<std::uint64_t> counts;  ///< by size; ends with the largest
  std::uint64_t count = 0;            ///< of all

  /// One below zero counts as zero.
  void add(std::chrono::nanoseconds time);
  /// Nearest rank, `share` of (0, 1]; zero of nothing.
  [[nodiscard]] std::chrono::nanoseconds quantile(double share) const;
};

}  // namespace lkm::lab
