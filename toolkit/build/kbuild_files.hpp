// SPDX-License-Identifier: GPL-2.0
//
// The files in which Kbuild notes what it did, as Linux 6.1 to 6.12 write them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lkm {

/// The .ko files that a modules.order file lists, which name .ko files (to 6.2) or .o files;
/// relative ones count from `folder`. In the file's order, without repetition; other lines are
/// skipped.
std::vector<std::filesystem::path> parse_modules_order(std::string_view text,
                                                       const std::filesystem::path& folder);

/// How an object was compiled.
struct CompileStep {
  std::string command;           ///< for a shell; without what Kbuild does after the compiler
  std::filesystem::path source;  ///< .c or .S file, as the command names it
};

/// The compiler's run in an object's `.x.o.cmd` file; nullopt when there is none (a link, a
/// truncated file).
std::optional<CompileStep> parse_cmd(std::string_view text);

/// The whole command that a .cmd file notes, with all that Kbuild does after the compiler or
/// linker; nullopt when there is none.
std::optional<std::string> saved_command(std::string_view text);

/// The files that a .cmd file says its object depends on, as the compiler named them; without the
/// options of the kernel's configuration, which are one file for us: include/generated/autoconf.h.
std::vector<std::filesystem::path> saved_dependencies(std::string_view text);

}  // namespace lkm
