// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lkm {

// Values below kSteps have a bucket each. Above, a value's leading kStepBits + 1 bits name its
// bucket: `shift` says how many bits were dropped.
std::size_t Histogram::bucket(std::uint64_t value) {
  if (value < kSteps) return value;
  const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - (kStepBits + 1);
  return (shift + 1) * kSteps + ((value >> shift) - kSteps);
}

std::uint64_t Histogram::upper_bound(std::size_t bucket) {
  if (bucket < kSteps) return bucket;
  const unsigned shift = static_cast<unsigned>(bucket / kSteps) - 1;
  return ((bucket % kSteps + kSteps + 1) << shift) - 1;
}

void Histogram::record(std::chrono::nanoseconds value) {
  const std::int64_t ns = std::max<std::int64_t>(value.count(), 0);
  ++counts_[bucket(static_cast<std::uint64_t>(ns))];
  ++count_;
  max_ = std::max(max_, std::chrono::nanoseconds(ns));
}

std::chrono::nanoseconds Histogram::quantile(double q) const {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted && seen > 0)
      return std::min(max_, std::chrono::nanoseconds(static_cast<std::int64_t>(upper_bound(i))));
  }
  return {};
}

}  // namespace lkm
