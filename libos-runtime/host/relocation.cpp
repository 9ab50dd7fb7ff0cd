// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/relocation.hpp"

#include <algorithm>

#include "libos-runtime/host/sanitizer.hpp"

namespace lkm {

Relocation::Relocation(std::vector<Range> ranges) : ranges_(std::move(ranges)) {
  if (ranges_.empty()) return;
  std::ranges::sort(ranges_, {}, &Range::from);
  low_ = ranges_.front().from >> kPageShift << kPageShift;
  size_ = ranges_.back().from + ranges_.back().size - low_;
  pages_.resize((size_ >> kPageShift) + 1);
  for (const Range& range : ranges_) {
    const auto first = (range.from - low_) >> kPageShift, last = (range.from + range.size - 1 - low_) >> kPageShift;
    for (auto page = first; page <= last; ++page) pages_[page] = true;
  }
}

const Relocation::Range* Relocation::find(std::uintptr_t address) const {
  if (address - low_ >= size_ || !pages_[(address - low_) >> kPageShift]) return nullptr;
  const auto after = std::ranges::upper_bound(ranges_, address, {}, &Range::from);
  if (after == ranges_.begin()) return nullptr;
  const Range& range = *std::prev(after);
  return address - range.from < range.size ? &range : nullptr;
}

LKM_READS_STACKS void Relocation::over(std::byte* low, const std::byte* high) {
  constexpr std::uintptr_t kMask = sizeof(std::uintptr_t) - 1;
  auto* word = reinterpret_cast<std::uintptr_t*>((reinterpret_cast<std::uintptr_t>(low) + kMask) & ~kMask);
  const auto* end = reinterpret_cast<const std::uintptr_t*>(reinterpret_cast<std::uintptr_t>(high) & ~kMask);
  for (; word < end; ++word) {
    if (*word - low_ >= size_ && ~*word - low_ >= size_) continue;
    if (const Range* range = find(*word)) {
      *word += std::uintptr_t(range->distance);
    } else if (const Range* inverted = find(~*word)) {
      *word = ~(~*word + std::uintptr_t(inverted->distance));
    } else {
      continue;
    }
    ++corrected_;
  }
}

}  // namespace lkm
