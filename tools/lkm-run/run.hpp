// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <string>
#include <vector>

namespace lkm::cli {

/// The whole command: `words` without the program's name. Returns its exit code.
int run(const std::vector<std::string>& words);

}  // namespace lkm::cli
