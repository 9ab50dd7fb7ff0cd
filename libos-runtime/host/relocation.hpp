// SPDX-License-Identifier: GPL-2.0
//
// Relocation: pointers to what has moved. As Sweep, it is conservative: 64 bits that look like an address in one of
// the ranges are taken for a pointer. Those that are stored inverted, as the ledger stores its keys, are found too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "libos-runtime/host/address_index.hpp"

namespace lkm {

class Relocation {
 public:
  struct Range {
    std::uintptr_t at = 0;
    std::size_t size = 0;
    std::intptr_t distance = 0;  ///< that it has moved by
  };

  /// libos_entry::check_of().
  using CheckOf = int (*)(const void* word);

  /// Ranges must not overlap.
  explicit Relocation(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}
  /// What the allocator keeps beside its objects is none of theirs, and stays.
  void leave_to(CheckOf check_of) { check_of_ = check_of; }

  /// Corrects the aligned words in [low, high). No word may be gone over twice.
  void over(std::byte* low, const std::byte* high);

  [[nodiscard]] bool empty() const { return ranges_.ranges().empty(); }
  [[nodiscard]] std::size_t corrected() const { return corrected_; }

 private:
  AddressIndex<Range> ranges_;
  CheckOf check_of_ = nullptr;
  std::size_t corrected_ = 0;
};

}  // namespace lkm
