// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/relocation.hpp"

#include "libos-runtime/abi/libos.h"
#include "libos-runtime/host/sanitizer.hpp"

namespace lkm {

LKM_READS_STACKS void Relocation::over(std::byte* low, const std::byte* high) {
  constexpr std::uintptr_t kMask = sizeof(std::uintptr_t) - 1;
  auto* word = reinterpret_cast<std::uintptr_t*>((reinterpret_cast<std::uintptr_t>(low) + kMask) & ~kMask);
  const auto* end = reinterpret_cast<const std::uintptr_t*>(reinterpret_cast<std::uintptr_t>(high) & ~kMask);
  for (; word < end; ++word) {
    if (!ranges_.may_have(*word) && !ranges_.may_have(~*word)) continue;
    const Range* range = ranges_.find(*word);
    const Range* inverted = range == nullptr ? ranges_.find(~*word) : nullptr;
    if (range == nullptr && inverted == nullptr) continue;
    if (check_of_ != nullptr && check_of_(word) == LIBOS_CHECK_SLAB) continue;
    if (range != nullptr) {
      *word += std::uintptr_t(range->distance);
    } else {
      *word = ~(~*word + std::uintptr_t(inverted->distance));
    }
    ++corrected_;
  }
}

}  // namespace lkm
