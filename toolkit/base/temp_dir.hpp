// SPDX-License-Identifier: GPL-2.0
//
// TempDir: owner of a fresh folder, which is removed with all that is in it.
#pragma once

#include <filesystem>
#include <utility>

#include "toolkit/base/result.hpp"

namespace lkm {

class TempDir {
 public:
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept {
    if (this != &other) {
      reset();
      path_ = std::exchange(other.path_, {});
    }
    return *this;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { reset(); }

  /// A new folder (mode 0700) named after `prefix`, in `parent`; by default in $TMPDIR or /tmp.
  /// Errors: as mkdtemp(3), naming the folder.
  static Result<TempDir> make(const std::string& prefix = "lkm-run-",
                              const std::filesystem::path& parent = {});

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Gives the folder up: it stays.
  std::filesystem::path release() { return std::exchange(path_, {}); }

 private:
  explicit TempDir(std::filesystem::path path) : path_(std::move(path)) {}
  void reset();

  std::filesystem::path path_;
};

}  // namespace lkm
