// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/relocation.hpp"

#include "libos-runtime/abi/libos.h"
#include "libos-runtime/host/sanitizer.hpp"
#include "libos-runtime/host/words.hpp"

namespace lkm {

LKM_READS_STACKS void Relocation::over(std::byte* low, const std::byte* high) {
  for (std::uintptr_t& word : words_in(low, high)) {
    if (!ranges_.may_have(word) && !ranges_.may_have(~word)) continue;
    const Range* range = ranges_.find(word);
    const Range* inverted = range == nullptr ? ranges_.find(~word) : nullptr;
    if (range == nullptr && inverted == nullptr) continue;
    if (check_of_ != nullptr && check_of_(&word) == LIBOS_CHECK_SLAB) continue;
    if (range != nullptr) {
      word += std::uintptr_t(range->distance);
    } else {
      word = ~(~word + std::uintptr_t(inverted->distance));
    }
    ++corrected_;
  }
}

}  // namespace lkm
