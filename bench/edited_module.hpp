// SPDX-License-Identifier: GPL-2.0
//
// The module that the benchmark edits, builds and swaps.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "bench/parts.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/build/module_build.hpp"

namespace lkm::bench {

inline double milliseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

/// A copy of a module of modules/, aimd if no other is named, that is edited and built again and
/// again.
class EditedModule {
 public:
  static Result<EditedModule> make(const Options& options, bool fast = false,
                                   const std::string& name = "aimd") {
    LKM_TRY(TempDir folder, TempDir::make("lkm-bench-"));
    const std::filesystem::path sources = folder.path() / name;
    std::error_code error;
    std::filesystem::copy(options.source / "modules" / name, sources,
                          std::filesystem::copy_options::recursive, error);
    if (error) return fail(error.value(), "copy modules/{} to '{}'", name, sources.string());
    LKM_TRY(ModuleBuild build, ModuleBuild::open({.folder = sources,
                                                  .kernel = options.image,
                                                  .work = folder.path() / "work",
                                                  .plugins = folder.path() / "plugins",
                                                  .linker = options.source / "Kbuild" / "plugin",
                                                  .compile_commands = false,
                                                  .fast = fast}));
    return EditedModule(std::move(folder), sources, std::move(build));
  }

  /// Writes something else in the place of a text that a file has once.
  Result<void> replace(const std::string& file, const std::string& from, const std::string& to) {
    LKM_TRY(std::string text, read_file(sources_ / file));
    const auto at = text.find(from);
    if (at == text.npos) return fail(EINVAL, "'{}' has no '{}'", (sources_ / file).string(), from);
    return replace_file(sources_ / file, text.replace(at, from.size(), to));
  }
  /// Saves aimd.c with a difference that reaches the object file.
  Result<void> save() {
    std::ofstream file(source(), std::ios::app);
    file << fmt::format("MODULE_INFO(bench_edit, \"{}\");\n", ++edits_);
    file.close();
    if (!file) return fail(EIO, "write '{}'", source().string());
    return {};
  }
  Result<std::filesystem::path> build() {
    LKM_TRY(built_, build_.run());
    return built_.modules.front().plugin;
  }
  /// What lkm-run watch does in the background after a build: the header for the next one, or
  /// Kbuild's word on this one, which must be that it is the same.
  Result<void> settle() {
    if (!built_.fast) {
      LKM_TRY(const bool prepared, build_.prepare());
      if (!prepared) return fail(EIO, "the module cannot take the fast path");
      return {};
    }
    LKM_TRY(const Verdict verdict, build_.judge(built_));
    if (verdict.kind != Verdict::Kind::kAgrees) return fail(EIO, "Kbuild does not agree");
    return {};
  }
  [[nodiscard]] bool fast() const { return built_.fast; }
  [[nodiscard]] const std::filesystem::path& sources() const { return sources_; }

 private:
  EditedModule(TempDir folder, std::filesystem::path sources, ModuleBuild build)
      : folder_(std::move(folder)), sources_(std::move(sources)), build_(std::move(build)) {}
  [[nodiscard]] std::filesystem::path source() const { return sources_ / "aimd.c"; }

  TempDir folder_;
  std::filesystem::path sources_;
  ModuleBuild build_;
  BuildResult built_;
  unsigned edits_ = 0;
};

}  // namespace lkm::bench
