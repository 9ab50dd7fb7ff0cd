// SPDX-License-Identifier: GPL-2.0
//
// A stack's folder of plugins: one path per build of a module, `mycc@3-5f2a91c40b7e.so`. The
// dynamic linker goes by path and inode, so a path is never used for a second content.
#pragma once

#include <filesystem>
#include <string>

#include "toolkit/base/result.hpp"

namespace lkm {

struct StoredPlugin {
  std::filesystem::path path;
  unsigned generation = 0;  ///< counts the different builds of this name in the folder, from 1
  bool is_new = true;       ///< false: the same build was there already
};

/// Puts the plugin file `so` of module `name` into `folder` (made if need be), under a path of its
/// own; the same build id gives the same path again. Errors: as of the file operations.
Result<StoredPlugin> store_plugin(const std::filesystem::path& so, const std::string& name,
                                  const std::string& build_id, const std::filesystem::path& folder);

}  // namespace lkm
