// SPDX-License-Identifier: GPL-2.0
#pragma once

#include "toolkit/base/result.hpp"
#include "toolkit/build/kernel.hpp"
#include "toolkit/build/mirror.hpp"

namespace lkm {

/// Writes compile_commands.json into the user's module folder, from the commands that Kbuild ran in
/// the copy, so that clangd reads the sources as the compiler does. Options that only gcc knows are
/// left out. An unchanged file is not written. Errors: as of the file operations.
Result<void> write_compile_commands(const Mirror& mirror, const Kernel& kernel);

}  // namespace lkm
