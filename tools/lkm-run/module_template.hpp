// SPDX-License-Identifier: GPL-2.0
//
// The module folder that `lkm-run new` writes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

struct TemplateFile {
  std::string_view name;     ///< in the folder; "module" in it stands for NAME
  std::string_view content;  ///< with __name__ for NAME
};

/// The files of templates/cc, built into the program.
const std::vector<TemplateFile>& cc_template();

/// Where a file goes: "tests/module_test.cpp" to DIR/tests/NAME_test.cpp.
std::filesystem::path place_of(const TemplateFile& file, const std::filesystem::path& folder, std::string_view name);

/// Errors: EINVAL for a name that cannot be that of a C file, a module and a congestion control at
/// once, with the reason.
Result<void> check_module_name(std::string_view name);

/// Makes the folder with the files of a congestion control. Errors: EEXIST when something of that name
/// is there; nothing is left behind.
Result<void> write_cc_module(const std::filesystem::path& folder, std::string_view name);

}  // namespace lkm::cli
