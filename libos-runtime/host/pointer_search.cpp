// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/pointer_search.hpp"

#include "libos-runtime/host/sanitizer.hpp"
#include "libos-runtime/host/words.hpp"

namespace lkm {

LKM_READS_STACKS void PointerSearch::over(const std::byte* low, const std::byte* high) {
  for (const std::uintptr_t& word : words_in(low, high)) {
    Block* to = blocks_.find(word);
    if (to == nullptr || (exempt_ != nullptr && exempt_(&word) != 0)) continue;
    Block* from = blocks_.find(reinterpret_cast<std::uintptr_t>(&word));
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
  return blocks_.ranges();
}

}  // namespace lkm
