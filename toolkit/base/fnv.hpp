// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace lkm {

inline constexpr std::uint64_t kFnvStart = 0xcbf29ce484222325;

/// FNV-1a, 64 bits: tells contents apart that nobody forges. Give the last value as `hash` to go
/// on.
inline std::uint64_t fnv1a(std::string_view bytes, std::uint64_t hash = kFnvStart) {
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  }
  return hash;
}

}  // namespace lkm
