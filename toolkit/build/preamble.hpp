// SPDX-License-Identifier: GPL-2.0
//
// The leading block of #include lines of a C source, which is compiled ahead of it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace lkm {

/// The preprocessor directives before the first token of C, up to the last #include (or the last
/// #endif around one), one a line and without comments: what lies between and behind them does not
/// change what the headers give. "" for a source that includes nothing there.
std::string preamble_of(std::string_view source);

/// The commands that compile a source with its preamble precompiled, made of the one that Kbuild
/// recorded for it without.
struct PreambleCommands {
  std::string header;   ///< text of the file to precompile
  std::string prepare;  ///< makes `header`.gch
  std::string compile;  ///< uses it
};

/// `recorded` ends in "-c -o OBJECT SOURCE"; `preamble` is of SOURCE; `header` the path where the
/// text is to lie; `directory` where the commands run. What Kbuild includes from the command line
/// becomes part of the header, as gcc takes a precompiled header only in front of everything else
/// (gcc manual, "Using Precompiled Headers").
PreambleCommands preamble_commands(std::string_view recorded, std::string_view preamble,
                                   const std::filesystem::path& header,
                                   const std::filesystem::path& directory);

}  // namespace lkm
