// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <string_view>

namespace lkm {

/// True for a file or folder name that no module is built from: what editors keep beside a file
/// while they save it, and what a build leaves behind. A name that is missing here costs one
/// needless build at worst, so the list holds what is known, not what might be.
bool is_noise(std::string_view name);

}  // namespace lkm
