// SPDX-License-Identifier: GPL-2.0
//
// ModuleBuild: builds a module's source folder for a kernel, again and again.
//
//   LKM_TRY(auto build, ModuleBuild::open({.folder = "mycc", .kernel = image, .work = cache /
//   "builds",
//                                          .plugins = state / "plugins", .linker =
//                                          "Kbuild/plugin"}));
//   auto result = build.run([](std::string_view line) { std::cerr << line; });
//   if (!result && is_build_failure(result.error())) …   // the compiler has said why
//
// It is the kernel's own Kbuild, run in a private copy of the folder (mirror.hpp): what it prints
// is passed on with the user's paths, and the debug information has them too. For a library kernel
// each .ko is then linked into a plugin.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/build/kernel.hpp"
#include "toolkit/build/mirror.hpp"

namespace lkm {

struct BuiltModule {
  std::string name;          ///< "tcp_mycc", as in /proc/modules
  std::filesystem::path ko;  ///< what Kbuild made; overwritten by the next build
  std::filesystem::path
      plugin;               ///< a path of its own for this build; empty for a distribution kernel
  std::string build_id;     ///< of the plugin, or of the .ko: hex
  unsigned generation = 0;  ///< of the plugin: counts the different builds, from 1
  bool is_new = true;       ///< false: the same bytes as a build before, and the same plugin
};

struct BuildStep {
  std::string name;  ///< "copy", "compile", "link"
  std::chrono::nanoseconds duration{};
};

struct BuildResult {
  std::vector<BuiltModule> modules;  ///< those that others depend on come first
  std::string warnings;              ///< all that the tools printed
  std::vector<BuildStep> steps;
};

/// True for errors that say that the sources do not compile or link (exit status 3 of the command
/// line), not that something is missing or broken around them.
bool is_build_failure(const Error& error);

class ModuleBuild {
 public:
  struct Options {
    std::filesystem::path folder;   ///< module sources, with a Kbuild or Makefile that sets obj-m
    std::filesystem::path kernel;   ///< see Kernel
    std::filesystem::path work;     ///< for copies and objects; may be shared by all builds
    std::filesystem::path plugins;  ///< where plugins go (library kernel)
    std::filesystem::path linker;   ///< the program Kbuild/plugin (library kernel)
    bool compile_commands = true;   ///< write compile_commands.json into `folder`, for clangd
  };

  /// Errors: ENOENT, ENOTDIR, EINVAL for a folder or kernel that is none, with a hint.
  static Result<ModuleBuild> open(Options options);

  /// Gets each line as it is printed, with its newline.
  using Sink = std::function<void(std::string_view line)>;

  /// Builds what changed. Blocks; waits while another process builds the same folder. When
  /// `cancel_fd` becomes readable the build is stopped: ECANCELED. Errors: is_build_failure(), with
  /// all that was printed in output(); others for what is missing or broken around it.
  Result<BuildResult> run(const Sink& sink = {}, int cancel_fd = -1);

  /// All that the tools printed in the last run.
  [[nodiscard]] const std::string& output() const { return output_; }
  [[nodiscard]] const Kernel& kernel() const { return kernel_; }
  /// The source folder, as an absolute path.
  [[nodiscard]] const std::filesystem::path& folder() const { return mirror_.source(); }

 private:
  ModuleBuild(Options options, Kernel kernel, Mirror mirror)
      : options_(std::move(options)), kernel_(std::move(kernel)), mirror_(std::move(mirror)) {}

  struct Console;  // where output goes, and what may stop the build
  Result<int> run_tool(const std::vector<std::string>& command, const Console& console);
  void take_line(std::string line, const Console& console);
  Result<void> compile(const Console& console);
  Result<std::vector<BuiltModule>> find_modules() const;
  Result<void> link(std::vector<BuiltModule>& modules, const Console& console);

  Options options_;
  Kernel kernel_;
  Mirror mirror_;
  std::string output_;
};

}  // namespace lkm
