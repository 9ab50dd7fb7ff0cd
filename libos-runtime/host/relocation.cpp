// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/relocation.hpp"

#include "libos-runtime/host/sanitizer.hpp"

namespace lkm {

LKM_READS_STACKS void Relocation::over(std::byte* low, const std::byte* high) {
  constexpr std::uintptr_t kMask = sizeof(std::uintptr_t) - 1;
  auto* word = reinterpret_cast<std::uintptr_t*>((reinterpret_cast<std::uintptr_t>(low) + kMask) & ~kMask);
  const auto* end = reinterpret_cast<const std::uintptr_t*>(reinterpret_cast<std::uintptr_t>(high) & ~kMask);
  for (; word < end; ++word) {
    if (!ranges_.may_have(*word) && !ranges_.may_have(~*word)) continue;
    if (const Range* range = ranges_.find(*word)) {
      *word += std::uintptr_t(range->distance);
    } else if (const Range* inverted = ranges_.find(~*word)) {
      *word = ~(~*word + std::uintptr_t(inverted->distance));
    } else {
      continue;
    }
    ++corrected_;
  }
}

}  // namespace lkm
