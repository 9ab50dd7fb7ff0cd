// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/temp_dir.hpp"

#include <cerrno>
#include <cstdlib>
#include <string>

namespace lkm {

Result<TempDir> TempDir::make(const std::string& prefix, const std::filesystem::path& parent) {
  std::filesystem::path folder = parent;
  if (folder.empty()) {
    const char* environment = std::getenv("TMPDIR");
    folder = environment != nullptr && *environment != '\0' ? environment : "/tmp";
  }
  std::string name = (folder / (prefix + "XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) {
    return fail(errno, "make a temporary folder in '{}'", folder.string());
  }
  return TempDir(name);
}

void TempDir::reset() {
  if (path_.empty()) return;
  const int saved = errno;
  std::error_code ignored;  // what cannot be removed stays; a destructor has nobody to tell
  std::filesystem::remove_all(std::exchange(path_, {}), ignored);
  errno = saved;
}

}  // namespace lkm
