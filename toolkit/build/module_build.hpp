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
//
// With `fast`, an edit of one source file is built by replaying what Kbuild did last
// (fast_path.hpp), in a tenth of the time:
//
//   auto result = build.run(sink);           // result->fast, or result->why_full
//   … swap it in …
//   result->fast ? build.judge(*result) : build.prepare();   // at leisure
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/build/fast_path.hpp"
#include "toolkit/build/kernel.hpp"
#include "toolkit/build/mirror.hpp"
#include "toolkit/build/tools.hpp"

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

struct BuildResult {
  std::vector<BuiltModule> modules;  ///< those that others depend on come first
  bool fast = false;                 ///< replayed; Kbuild has not judged it yet
  std::string why_full;              ///< Options::fast, and not fast: "mycc.h changed"
  std::string contents;              ///< names the files it was built from
  std::string warnings;              ///< all that the tools printed
  std::vector<BuildStep> steps;
};

/// True for errors that say that the sources do not compile or link (exit status 3 of the command
/// line), not that something is missing or broken around them.
bool is_build_failure(const Error& error);

/// What Kbuild says of a replay.
struct Verdict {
  enum class Kind {
    kAgrees,     ///< the same code, data and symbols
    kDisagrees,  ///< `differences` has how; `kbuild` is what counts
    kRefuses,    ///< it does not build; the last build that Kbuild made is what counts
    kOutdated,   ///< the files have changed meanwhile: judge the next build
  };
  Kind kind = Kind::kAgrees;
  std::vector<std::string> differences;  ///< "mycc: section .rodata"
  BuildResult kbuild;                    ///< kAgrees, kDisagrees, kOutdated
  std::string output;                    ///< all that the tools printed
};

class ModuleBuild {
 public:
  struct Options {
    std::filesystem::path folder;   ///< module sources, with a Kbuild or Makefile that sets obj-m
    std::filesystem::path kernel;   ///< see Kernel
    std::filesystem::path work;     ///< for copies and objects; may be shared by all builds
    std::filesystem::path plugins;  ///< where plugins go (library kernel)
    std::filesystem::path linker;   ///< the program Kbuild/plugin (library kernel)
    bool compile_commands = true;   ///< write compile_commands.json into `folder`, for clangd
    bool fast = false;              ///< replay where possible (library kernel)
  };

  /// Errors: ENOENT, ENOTDIR, EINVAL for a folder or kernel that is none, with a hint.
  static Result<ModuleBuild> open(Options options);

  using Sink = Tools::Sink;

  /// Builds what changed. Blocks; waits while another process builds the same folder. When
  /// `cancel_fd` becomes readable the build is stopped: ECANCELED. Errors: is_build_failure(), with
  /// all that was printed in output(); others for what is missing or broken around it.
  Result<BuildResult> run(const Sink& sink = {}, int cancel_fd = -1);

  /// Runs Kbuild, at low priority, for files that were built by a replay, and compares. Another
  /// object of this class may be used meanwhile, in another thread or process. Errors: ECANCELED;
  /// for what is missing or broken around the build.
  Result<Verdict> judge(const BuildResult& replayed, int cancel_fd = -1);

  /// Makes the next run() fast, at low priority: see FastPath::prepare(). As judge() else.
  Result<bool> prepare(int cancel_fd = -1);

  /// All that the tools printed in the last run.
  [[nodiscard]] const std::string& output() const { return output_; }
  [[nodiscard]] const Kernel& kernel() const { return kernel_; }
  /// The source folder, as an absolute path.
  [[nodiscard]] const std::filesystem::path& folder() const { return mirror_.source(); }

 private:
  ModuleBuild(Options options, Kernel kernel, Mirror mirror)
      : options_(std::move(options)), kernel_(std::move(kernel)), mirror_(std::move(mirror)) {}

  Tools tools(const Sink& sink, int cancel_fd, int niceness);
  Result<FastPath> fast_path() const;
  Result<BuildResult> run_fast(const Tools& tools);
  Result<BuildResult> run_full(const Tools& tools);
  Result<void> compile(const Tools& tools);
  static Result<std::vector<BuiltModule>> find_modules(const Mirror& mirror);
  Result<void> link(std::vector<BuiltModule>& modules, const Mirror& mirror, const Tools& tools);

  Options options_;
  Kernel kernel_;
  Mirror mirror_;
  std::string output_;
};

}  // namespace lkm
