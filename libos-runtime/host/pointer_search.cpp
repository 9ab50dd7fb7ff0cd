// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/pointer_search.hpp"

#include <algorithm>

#include "libos-runtime/host/sanitizer.hpp"

namespace lkm {

PointerSearch::PointerSearch(std::vector<Block> blocks) : blocks_(std::move(blocks)) {
  std::ranges::sort(blocks_, {}, &Block::at);
  if (blocks_.empty()) return;
  low_ = blocks_.front().at;
  high_ = blocks_.back().at + blocks_.back().size;
}

PointerSearch::Block* PointerSearch::find(std::uintptr_t address) {
  if (address < low_ || address >= high_) return nullptr;
  const auto after = std::ranges::upper_bound(blocks_, address, {}, &Block::at);
  if (after == blocks_.begin()) return nullptr;
  Block& block = *std::prev(after);
  return address - block.at < block.size ? &block : nullptr;
}

LKM_READS_STACKS void PointerSearch::over(const std::byte* low, const std::byte* high) {
  constexpr std::uintptr_t kMask = sizeof(std::uintptr_t) - 1;
  const auto* word = reinterpret_cast<const std::uintptr_t*>((reinterpret_cast<std::uintptr_t>(low) + kMask) & ~kMask);
  const auto* last = reinterpret_cast<const std::uintptr_t*>(reinterpret_cast<std::uintptr_t>(high) & ~kMask);
  for (; word < last; ++word) {
    if (*word - low_ >= high_ - low_) continue;
    Block* to = find(*word);
    if (to == nullptr) continue;
    Block* from = find(reinterpret_cast<std::uintptr_t>(word));
    if (from == nullptr) {
      to->pointed_to = true;
    } else if (from != to) {
      between_.emplace_back(from, to);
    }
  }
}

const std::vector<PointerSearch::Block>& PointerSearch::finish() {
  for (bool again = true; again;) {
    again = false;
    for (const auto& [from, to] : between_) {
      if (!from->pointed_to || to->pointed_to) continue;
      to->pointed_to = true;
      again = true;
    }
  }
  return blocks_;
}

}  // namespace lkm
