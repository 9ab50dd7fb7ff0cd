// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/kernel.hpp"

#include <sstream>

#include "toolkit/base/file.hpp"

namespace lkm {

namespace fs = std::filesystem;

Result<Kernel> Kernel::open(const fs::path& folder) {
  const char* hint =
      "Kbuild/kernel makes one and prints its folder; a distribution's is "
      "/lib/modules/VERSION/build";
  std::error_code error;
  const fs::path absolute = fs::absolute(folder, error);
  if (!fs::is_directory(absolute, error)) {
    return fail_hint(ENOENT, hint, "kernel '{}'", folder.string());
  }
  Kernel kernel{.folder = absolute};
  if (!fs::exists(absolute / "about", error)) {
    if (!fs::exists(absolute / "Makefile", error) || !fs::exists(absolute / "scripts", error)) {
      return fail_hint(EINVAL, hint, "kernel '{}': modules cannot be built for it",
                       folder.string());
    }
    kernel.kind = Kind::kDistribution;
    kernel.build = absolute;
    return kernel;
  }
  // One fact a line: its name, a blank, its value.
  LKM_TRY(const std::string about, read_file(absolute / "about"));
  std::istringstream lines(about);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("release ")) kernel.release = line.substr(line.find(' ') + 1);
    if (line.starts_with("compiler ")) kernel.llvm = line.find("clang") != std::string::npos;
  }
  kernel.build = absolute / "build";
  if (kernel.release.empty() || !fs::exists(kernel.build / "Makefile", error)) {
    return fail_hint(EINVAL, hint, "kernel '{}': it is not complete", folder.string());
  }
  return kernel;
}

}  // namespace lkm
