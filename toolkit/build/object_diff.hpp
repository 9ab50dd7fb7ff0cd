// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

/// In what two relocatable objects (.o, .ko) differ, by names for a person: "section .text",
/// "symbol mycc_init"; empty when they are the same code, data and symbols. Debug information, the
/// build id and the order of symbols do not count. Errors: as open(2); ENOEXEC for no ELF file.
Result<std::vector<std::string>> object_differences(const std::filesystem::path& one,
                                                    const std::filesystem::path& other);

}  // namespace lkm
