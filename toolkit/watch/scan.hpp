// SPDX-License-Identifier: GPL-2.0
//
// What a folder holds at this moment, to be compared with what it held before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "toolkit/base/result.hpp"

namespace lkm {

/// A file's content, as far as a comparison needs it.
struct Fingerprint {
  std::uint64_t size = 0;  ///< bytes
  std::uint64_t hash = 0;  ///< FNV-1a of the bytes
  int error = 0;           ///< errno of reading it
  bool operator==(const Fingerprint&) const = default;
};

struct FolderContents {
  bool exists = false;                                 ///< the folder is there
  std::map<std::filesystem::path, Fingerprint> files;  ///< by path relative to the folder
};

/// Why a folder must be watched for a scan to stay true.
enum class Interest {
  kAll,   ///< everything in it matters
  kFile,  ///< only the file `name` in it matters: a symlink leads there
  kWay,   ///< only the coming and going of `name` matters: it lies on the way to something
};
using WatchFolder = std::function<Result<void>(const std::filesystem::path& folder,
                                               const std::string& name, Interest interest)>;

/// Reads every file below `folder` (an absolute path) that is no noise, through symlinks. A folder
/// that is reached twice counts once, so a symlink to a parent is harmless. `watch` is called for
/// each folder *before* it is read: a change after that is in what is returned, or seen by the watch,
/// or both. Errors: those of `watch`; E2BIG for more than 1024 folders. What disappears meanwhile
/// is no error.
Result<FolderContents> scan(const std::filesystem::path& folder, const WatchFolder& watch);

}  // namespace lkm
