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

 private:
  PluginFile() = default;

  PluginFacts facts_;
  std::filesystem::path path_;
  Mapping file_;
  void* handle_ = nullptr;
};

}  // namespace lkm
