// SPDX-License-Identifier: GPL-2.0
//
// What a built module's file says of itself.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

struct ModuleFile {
  std::string name;                  ///< "tcp_mycc", as in /proc/modules
  std::string vermagic;              ///< the kernel that it was built for
  std::vector<std::string> depends;  ///< modules whose symbols it uses
};

/// Reads `.modinfo` of a .ko file. Errors: as open(2); ENOEXEC when it is no kernel module.
Result<ModuleFile> read_module_file(const std::filesystem::path& path);

/// The GNU build id of an ELF file in lower-case hex; "" when it has none. Errors: as open(2);
/// ENOEXEC when it is no ELF file.
Result<std::string> read_build_id(const std::filesystem::path& path);

}  // namespace lkm
