// SPDX-License-Identifier: GPL-2.0
//
// PointerSearch: which blocks of a stack's memory something points to. As Sweep, it is conservative: a number that
// looks like an address of a block, of any byte of it, is a pointer to it.
//
// That is how the kernel's kmemleak decides: what lies in a block counts only if the block itself is pointed to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "libos-runtime/host/address_index.hpp"

namespace lkm {

class PointerSearch {
 public:
  struct Block {
    std::uintptr_t at = 0;
    std::size_t size = 0;
    bool pointed_to = false;
  };

  /// Whether the address in that word is nobody's pointer.
  using Exempt = int (*)(const void* word);

  /// Blocks must not overlap.
  explicit PointerSearch(std::vector<Block> blocks, Exempt exempt = nullptr)
      : blocks_(std::move(blocks)), exempt_(exempt) {}

  /// Goes over the words in [low, high).
  void over(const std::byte* low, const std::byte* high);
  /// After the last over(): follows the pointers in blocks that are pointed to. In the order of their addresses.
  const std::vector<Block>& finish();

 private:
  AddressIndex<Block> blocks_;
  Exempt exempt_;
  std::vector<std::pair<Block*, Block*>> between_;  ///< a word in the first points to the second
};

}  // namespace lkm
