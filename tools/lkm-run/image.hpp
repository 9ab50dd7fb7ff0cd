// SPDX-License-Identifier: GPL-2.0
//
// The library kernel ("image") that stacks boot and modules are built for, and the scripts that make
// it.
#pragma once

#include <filesystem>
#include <string>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

/// The folder with Kbuild/ in it: $LKM_RUN_HOME, else share/lkm-run beside the installed program, else
/// the source tree that the program was built from.
Result<std::filesystem::path> home_folder();

/// Where kernels and modules are built: $LKM_RUN_CACHE, else $XDG_CACHE_HOME/lkm-run, else
/// ~/.cache/lkm-run, as in Kbuild/kernel.
std::filesystem::path cache_folder();

/// Where the image is or would be, without building anything.
struct ImagePlace {
  std::filesystem::path path;
  bool present = false;
};
/// `wanted` (of --image), else $LKM_RUN_IMAGE, else the one in the cache.
/// Errors: ENOENT when `wanted` or $LKM_RUN_IMAGE is no image; what Kbuild/kernel says.
Result<ImagePlace> find_image(const std::string& wanted);

/// The image; builds it when it is missing, with the progress of Kbuild/kernel on stderr. A failure of
/// the script has been told to the user by it, and comes as its exit code.
struct ImageOutcome {
  std::filesystem::path path;
  int exit_code = 0;
};
Result<ImageOutcome> make_image(const std::string& wanted);

/// The image for a verb that builds modules: that of the environment or the cache, or an error that
/// names the command which makes it.
Result<std::filesystem::path> present_image();

}  // namespace lkm::cli
