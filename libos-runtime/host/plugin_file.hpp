// SPDX-License-Identifier: GPL-2.0
//
// PluginFile: a kernel module linked as a shared object, as a file and mapped. Bytes of the file are
// untrusted until parse() has gone through them.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/mapping.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

/// What a plugin says of itself.
struct PluginFacts {
  std::string name;                  ///< module name
  std::string vermagic;              ///< "6.12.117 libos "
  std::string license;
  std::vector<std::string> depends;  ///< modules that must be loaded first
  std::string build_id;              ///< hex
};

/// Reads a plugin's headers and .modinfo. `shown` is how messages name the file. Errors: ENOEXEC, with
/// what is wrong with it and what would be right.
Result<PluginFacts> parse_plugin(std::span<const std::byte> file, const std::string& shown);

/// A plugin that is mapped and bound. Unmaps at its end.
class PluginFile {
 public:
  /// Maps the file for a kernel of that release. Errors: as open(2); ENOEXEC as parse_plugin(), for another
  /// kernel, or with the symbols that are missing.
  static Result<PluginFile> open(const std::filesystem::path& path, std::string_view release);

  PluginFile(PluginFile&& other) noexcept
      : facts_(std::move(other.facts_)),
        path_(std::move(other.path_)),
        file_(std::move(other.file_)),
        copy_(std::move(other.copy_)),
        handle_(std::exchange(other.handle_, nullptr)) {}
  PluginFile& operator=(PluginFile&&) = delete;
  ~PluginFile();

  [[nodiscard]] const PluginFacts& facts() const { return facts_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return file_.bytes(); }
  /// What to add to the file's addresses.
  [[nodiscard]] std::uintptr_t bias() const;
  /// Bytes of address space.
  [[nodiscard]] std::size_t mapped_size() const;
  /// A part of the mapping; `flags` as PF_X, PF_W, PF_R of elf.h.
  struct Segment {
    std::uintptr_t at = 0;
    std::size_t size = 0;
    unsigned flags = 0;
  };
  [[nodiscard]] std::vector<Segment> segments() const;
  /// From the first writable segment to the end of the last: all variables, and nothing else.
  [[nodiscard]] std::span<std::byte> writable() const;

 private:
  PluginFile() = default;

  PluginFacts facts_;
  std::filesystem::path path_;
  Mapping file_;
  UniqueFd copy_;  ///< open as long as the mapping: the dynamic linker knows that by "/proc/self/fd/N"
  void* handle_ = nullptr;
};

}  // namespace lkm
