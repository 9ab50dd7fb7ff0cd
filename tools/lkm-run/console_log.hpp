// SPDX-License-Identifier: GPL-2.0
//
// The file to which the kernel's console goes.
#pragma once

#include <filesystem>
#include <string_view>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::cli {

/// Appends to `path`. Past kLimit bytes it goes on in a fresh file and keeps one old one beside it, as
/// `path`.old: a module that warns for every packet must not fill the disk.
class ConsoleLog {
 public:
  static constexpr std::size_t kLimit = std::size_t{8} << 20;

  /// Begins a fresh file; what was there becomes the old one. Errors: as open(2).
  static Result<ConsoleLog> open(const std::filesystem::path& path);
  /// From any context of the kernel: never waits for a fiber.
  void write(std::string_view text);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit ConsoleLog(std::filesystem::path path) : path_(std::move(path)) {}
  Result<void> begin();

  std::filesystem::path path_;
  UniqueFd fd_;
  std::size_t written_ = 0;
};

}  // namespace lkm::cli
