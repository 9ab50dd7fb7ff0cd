// SPDX-License-Identifier: GPL-2.0
//
// Kernel: what modules are built for.
#pragma once

#include <filesystem>
#include <string>

#include "toolkit/base/result.hpp"

namespace lkm {

struct Kernel {
  enum class Kind {
    kLibrary,       ///< a folder that Kbuild/kernel prints; modules become plugins
    kDistribution,  ///< a distribution's /lib/modules/VERSION/build; modules stay .ko files
  };
  Kind kind = Kind::kLibrary;
  std::filesystem::path folder;  ///< as given
  std::filesystem::path build;   ///< for `make -C`
  std::string release;           ///< "6.12.117"; empty for a distribution's
  bool llvm = false;             ///< built by clang: modules must be too

  /// Finds out what `folder` is. Errors: ENOENT, or EINVAL when it is neither of the two; with a
  /// hint.
  static Result<Kernel> open(const std::filesystem::path& folder);
};

}  // namespace lkm
