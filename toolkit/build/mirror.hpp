// SPDX-License-Identifier: GPL-2.0
//
// A private copy of a module's source folder, in which Kbuild works.
//
// Kbuild builds an external module inside its source folder (an output folder of its own exists
// from Linux 6.13 only). Built in a copy, the user's folder stays clean, and the same folder can be
// built for several kernels without mixing their objects. Copying by content also gives make the
// right idea of what changed: a file whose bytes are new gets a new time, even if it came with an
// old one (mv of a backup, git stash), and a touched file gets none.
//
//   <root>/tree/mycc/     the copy; M= for Kbuild
//   <root>/tree/<other>   symlinks to the folder's siblings, for "../common/x.h"
//   <root>/copied         what was copied, to tell it from what Kbuild made
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm {

class Mirror {
 public:
  /// Of the existing folder `source`, below `root`, which is made if need be. Errors: ENOENT or
  /// ENOTDIR; EINVAL for a path with characters that Kbuild cannot handle.
  static Result<Mirror> open(const std::filesystem::path& source,
                             const std::filesystem::path& root);

  /// Brings the copy up to date: new and changed files are written, those that are gone are
  /// removed, what Kbuild made stays. Symlinks are followed; build products in the source folder
  /// are left out. Errors: as of the file operations, naming the file; E2BIG for more than 10,000
  /// files.
  Result<void> sync() const;
  /// The files that sync() copied, relative to the folder.
  Result<std::vector<std::filesystem::path>> copied() const;

  [[nodiscard]] const std::filesystem::path& source() const { return source_; }
  [[nodiscard]] std::filesystem::path root() const { return root_; }
  [[nodiscard]] std::filesystem::path folder() const { return tree() / source_.filename(); }
  /// What tree() stands for: <tree>/mycc/x.c is the user's <parent>/mycc/x.c.
  [[nodiscard]] std::filesystem::path tree() const { return root_ / "tree"; }
  [[nodiscard]] std::filesystem::path parent() const { return source_.parent_path(); }
  /// `text` with the paths in the copy replaced by the user's.
  [[nodiscard]] std::string as_user_sees(std::string text) const;

 private:
  Mirror(std::filesystem::path source, std::filesystem::path root)
      : source_(std::move(source)), root_(std::move(root)) {}

  std::filesystem::path source_;  // absolute
  std::filesystem::path root_;    // absolute
};

}  // namespace lkm
