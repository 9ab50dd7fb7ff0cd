// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/times.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lkm::lab {
namespace {

constexpr unsigned kExactBits = 11, kStepBits = kExactBits - 1;

/// The place of a time among the counts: each power of two from the 11th on has 1024 steps.
std::size_t place_of(std::uint64_t ns) {
  const unsigned bits = unsigned(std::bit_width(ns));
  if (bits <= kExactBits) return ns;
  const unsigned shift = bits - kExactBits;
  return (std::size_t(shift) << kStepBits) + (ns >> shift);
}

/// The middle of a step.
std::uint64_t time_at(std::size_t place) {
  if (place < (1U << kExactBits)) return place;
  const unsigned shift = unsigned(place >> kStepBits) - 1;
  const std::uint64_t low = (place - (std::uint64_t(shift) << kStepBits)) << shift;
  return low + (std::uint64_t(1) << shift) / 2;
}

}  // namespace

void Times::add(std::chrono::nanoseconds time) {
  const std::size_t place = place_of(std::uint64_t(std::max<std::int64_t>(time.count(), 0)));
  if (counts.size() <= place) counts.resize(place + 1);
  ++counts[place];
  ++count;
}

std::chrono::nanoseconds Times::quantile(double share) const {
  const auto rank = std::max<std::uint64_t>(1, std::uint64_t(std::ceil(share * double(count))));
  std::uint64_t so_far = 0;
  for (std::size_t place = 0; place < counts.size(); ++place) {
    so_far += counts[place];
    if (so_far >= rank) return std::chrono::nanoseconds(time_at(place));
  }
  return {};
}

}  // namespace lkm::lab
