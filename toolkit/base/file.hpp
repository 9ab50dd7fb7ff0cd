// SPDX-License-Identifier: GPL-2.0
//
// Whole files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "toolkit/base/result.hpp"

namespace lkm {

/// All bytes of a file, also of one whose size is not known before (/proc). Errors: as open(2) and
/// read(2), naming the path.
Result<std::string> read_file(const std::filesystem::path& path);

/// Makes `path` a file with this content, by way of a temporary file beside it and rename(2): a
/// reader sees the old file or the new one, never a half. Errors: as open(2), write(2), rename(2).
Result<void> replace_file(const std::filesystem::path& path, std::string_view content,
                          mode_t mode = 0644);

}  // namespace lkm
