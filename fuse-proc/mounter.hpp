// SPDX-License-Identifier: GPL-2.0
//
// Mounter: who mounts and unmounts FUSE file systems on the host, which a process that has given up its rights leaves
// to another one.
#pragma once

#include <filesystem>
#include <string>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

class Mounter {
 public:
  virtual ~Mounter() = default;

  /// Mounts on the folder, which is made when it is not there; a dead mount of ours that lies on it is cleaned first.
  /// Gives the /dev/fuse descriptor of the mount. Errors: as FuseProc::mount().
  virtual Result<UniqueFd> mount(const std::filesystem::path& mountpoint) = 0;
  /// Unmounts what is ours there. (Lazily: who is in it stays until the descriptor is closed.)
  virtual Result<void> unmount(const std::filesystem::path& mountpoint) = 0;

  /// The calling process does it.
  static Mounter& here();
};

}  // namespace lkm
