// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace lkm::cli {

/// Typing mistakes between two words: letters left out, added, replaced, or two neighbours swapped
/// (optimal string alignment distance; Damerau 1964).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The word that was most likely meant: at most a third of its letters wrong, or one.
std::optional<std::string_view> nearest(std::string_view typed,
                                        std::span<const std::string_view> words);

}  // namespace lkm::cli
