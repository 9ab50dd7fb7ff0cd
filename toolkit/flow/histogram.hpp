// SPDX-License-Identifier: GPL-2.0
//
// Histogram of durations: 32 steps for each power of two, so a percentile is at most 3.2 % too
// high, whatever the range, at a fixed 16 KiB. The scheme of HdrHistogram (Gil Tene), without its
// options.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

namespace lkm {

class Histogram {
 public:
  void record(std::chrono::nanoseconds value);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::chrono::nanoseconds max() const { return max_; }
  /// The value that a share `q` (0 to 1) of all does not exceed; zero when empty.
  [[nodiscard]] std::chrono::nanoseconds quantile(double q) const;

 private:
  static constexpr unsigned kStepBits = 5;
  static constexpr std::uint64_t kSteps = 1 << kStepBits;

  static std::size_t bucket(std::uint64_t value);
  static std::uint64_t upper_bound(std::size_t bucket);

  std::array<std::uint64_t, (64 - kStepBits + 1) * kSteps> counts_{};
  std::uint64_t count_ = 0;
  std::chrono::nanoseconds max_{};
};

}  // namespace lkm
