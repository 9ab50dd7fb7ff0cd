// SPDX-License-Identifier: GPL-2.0
//
// AddressIndex: ranges of memory, found by an address in one. Made to be asked for each word of a memory, of which few
// are addresses in a range.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lkm {

/// A Range has `at` and `size`. They must not overlap.
template <typename Range>
class AddressIndex {
 public:
  explicit AddressIndex(std::vector<Range> ranges) : ranges_(std::move(ranges)) {
    if (ranges_.empty()) return;
    std::ranges::sort(ranges_, {}, &Range::at);
    low_ = ranges_.front().at >> kPageShift << kPageShift;
    size_ = ranges_.back().at + ranges_.back().size - low_;
    pages_.resize((size_ >> kPageShift) + 1);
    for (const Range& range : ranges_) {
      if (range.size == 0) continue;
      const auto first = (range.at - low_) >> kPageShift, last = (range.at + range.size - 1 - low_) >> kPageShift;
      for (auto page = first; page <= last; ++page) pages_[page] = true;
    }
  }

  /// False: in none of them, as most words are. Cheaper than find().
  [[nodiscard]] bool may_have(std::uintptr_t address) const { return address - low_ < size_; }
  /// The range that has the address; nullptr: none.
  [[nodiscard]] Range* find(std::uintptr_t address) {
    if (!may_have(address) || !pages_[(address - low_) >> kPageShift]) return nullptr;
    const auto after = std::ranges::upper_bound(ranges_, address, {}, &Range::at);
    if (after == ranges_.begin()) return nullptr;
    Range& range = *std::prev(after);
    return address - range.at < range.size ? &range : nullptr;
  }

  /// By address.
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }

 private:
  static constexpr unsigned kPageShift = 12;

  std::vector<Range> ranges_;
  std::uintptr_t low_ = 0, size_ = 0;
  std::vector<bool> pages_;  ///< of [low, low + size): those that a range is in
};

}  // namespace lkm
