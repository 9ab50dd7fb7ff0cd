// SPDX-License-Identifier: GPL-2.0
#include "toolkit/watch/noise.hpp"

#include <algorithm>
#include <array>

namespace lkm {
namespace {

// Kbuild's products, and those of the tools around it.
constexpr std::array<std::string_view, 16> kProducts = {
    ".o",       ".ko",  ".mod", ".mod.c", ".a",  ".so",   ".cmd",  ".order",
    ".symvers", ".dwo", ".gch", ".d",     ".su", ".gcno", ".orig", ".rej",
};
constexpr std::array<std::string_view, 4> kNames = {
    "compile_commands.json",
    "tags",
    "TAGS",
    "cscope.out",
};

bool all_digits(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool is_noise(std::string_view name) {
  if (name.empty()) return true;
  // Hidden: vim's .x.swp, Emacs's .#x lock, Kbuild's .x.o.cmd and .tmp_versions, .git.
  if (name.front() == '.') return true;
  // Backups (x~), Emacs's auto-save (#x#).
  if (name.back() == '~' || (name.front() == '#' && name.back() == '#')) return true;
  // vim probes whether it may create files in a folder with one named 4913, then 5036, 5159…
  if (all_digits(name)) return true;
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() ||
         std::any_of(kProducts.begin(), kProducts.end(),
                     [&](std::string_view suffix) { return name.ends_with(suffix); });
}

}  // namespace lkm
