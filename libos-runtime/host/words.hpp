// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace lkm {

/// The aligned words that lie wholly in [low, high), as constant as `low` is.
template <typename Byte>
auto words_in(Byte* low, const std::byte* high) {
  using Word = std::conditional_t<std::is_const_v<Byte>, const std::uintptr_t, std::uintptr_t>;
  constexpr std::uintptr_t kMask = sizeof(Word) - 1;
  const auto first = (reinterpret_cast<std::uintptr_t>(low) + kMask) & ~kMask;
  const auto end = reinterpret_cast<std::uintptr_t>(high) & ~kMask;
  return std::span(reinterpret_cast<Word*>(first), end > first ? (end - first) / sizeof(Word) : 0);
}

}  // namespace lkm
