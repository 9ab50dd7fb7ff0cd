// SPDX-License-Identifier: GPL-2.0
//
// What the tools print about a build, folded to its first complaint.
#pragma once

#include <string>
#include <string_view>

namespace lkm::cli {

struct FoldedOutput {
  /// The first error with its source lines, else the first warning, else the first line.
  std::string shown;
  std::size_t hidden = 0;  ///< lines that are not in `shown`
};

/// `output` as gcc, clang, modpost and ld write it: lines, each with its '\n'.
FoldedOutput fold(std::string_view output);

/// The last `count` lines of a text, without the '\n' at its end.
std::string_view last_lines(std::string_view text, std::size_t count);

}  // namespace lkm::cli
