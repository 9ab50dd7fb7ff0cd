// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/module_build.hpp"

#include <sys/file.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "toolkit/base/file.hpp"
#include "toolkit/base/fnv.hpp"
#include "toolkit/base/log.hpp"
#include "toolkit/build/compile_commands.hpp"
#include "toolkit/build/kbuild_files.hpp"
#include "toolkit/build/module_file.hpp"
#include "toolkit/build/object_diff.hpp"
#include "toolkit/build/plugin_store.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Niceness. Nobody waits for the judge; the next save is the faster for what is prepared by then.
constexpr int kJudging = 19;
constexpr int kPreparing = 5;

enum class BuildCode { kCompile = 1, kLink };

class BuildCategory : public std::error_category {
  const char* name() const noexcept override { return "build"; }
  std::string message(int code) const override {
    return static_cast<BuildCode>(code) == BuildCode::kCompile
               ? "the sources do not compile"
               : "the module does not fit the kernel";
  }
};

const std::error_category& build_category() {
  static const BuildCategory category;
  return category;
}

Failure build_failure(BuildCode code, std::string what) {
  return Failure(Error(std::error_code(static_cast<int>(code), build_category()), std::move(what)));
}

// Held until closed; other processes that build the same folder for the same kernel wait.
Result<UniqueFd> lock(const fs::path& root) {
  LKM_TRY(auto fd, UniqueFd::open(root / "lock", O_RDWR | O_CREAT, 0600));
  if (::flock(fd.get(), LOCK_EX) != 0) {
    return fail(errno == EINTR ? ECANCELED : errno, "lock '{}'", root.string());
  }
  return fd;
}

}  // namespace

bool is_build_failure(const Error& error) { return error.code().category() == build_category(); }

Result<ModuleBuild> ModuleBuild::open(Options options) {
  LKM_TRY(Kernel kernel, Kernel::open(options.kernel));
  std::error_code error;
  const fs::path source = fs::absolute(options.folder, error).lexically_normal();
  const fs::path name = source.has_filename() ? source : source.parent_path();
  const std::uint64_t id =
      fnv1a(fs::weakly_canonical(kernel.build, error).native(), fnv1a(name.native() + '\n'));
  LKM_TRY(Mirror mirror,
          Mirror::open(options.folder,
                       options.work / fmt::format("{}-{:016x}", name.filename().native(), id)));
  return ModuleBuild(std::move(options), std::move(kernel), std::move(mirror));
}

Tools ModuleBuild::tools(const Sink& sink, int cancel_fd, int niceness) {
  output_.clear();
  return Tools({.sink =
                    [this, sink](std::string_view line) {
                      output_ += line;
                      if (sink) sink(line);
                    },
                .cancel_fd = cancel_fd,
                .niceness = niceness});
}

Result<FastPath> ModuleBuild::fast_path() const { return FastPath::open(kernel_, mirror_); }

Result<BuildResult> ModuleBuild::run(const Sink& sink, int cancel_fd) {
  const Tools tools = this->tools(sink, cancel_fd, 0);
  if (!options_.fast || kernel_.kind != Kernel::Kind::kLibrary) return run_full(tools);
  LKM_TRY(BuildResult fast, run_fast(tools));
  if (fast.fast) return fast;
  log::debug("build", "'{}' is for Kbuild: {}", folder().string(), fast.why_full);
  LKM_TRY(BuildResult full, run_full(tools));
  full.why_full = std::move(fast.why_full);
  return full;
}

Result<BuildResult> ModuleBuild::run_fast(const Tools& tools) {
  LKM_TRY(const FastPath path, fast_path());
  LKM_TRY(const UniqueFd locked, path.lock());
  LKM_TRY(FastPath::Replay replay, path.replay(tools));
  BuildResult result;
  switch (replay.end) {
    case FastPath::Replay::End::kRefused:
      result.why_full = std::move(replay.why);
      return result;
    case FastPath::Replay::End::kErrors:
      return build_failure(BuildCode::kCompile, fmt::format("build '{}'", folder().string()));
    case FastPath::Replay::End::kBuilt:
      break;
  }
  result.fast = true;
  result.contents = std::move(replay.contents);
  result.steps = std::move(replay.steps);
  const auto started = Clock::now();
  LKM_TRY(result.modules, find_modules(path.mirror()));
  LKM_CHECK(link(result.modules, path.mirror(), tools));
  result.steps.back().duration += Clock::now() - started;  // the .ko, and the plugin of it
  result.warnings = output_;
  return result;
}

Result<BuildResult> ModuleBuild::run_full(const Tools& tools) {
  BuildResult result;
  auto started = Clock::now();
  const auto end_step = [&](const char* name) {
    const auto now = Clock::now();
    result.steps.push_back({name, now - started});
    started = now;
  };

  LKM_TRY(const UniqueFd locked, lock(mirror_.root()));
  std::error_code error;
  if (!fs::exists(folder() / "Kbuild", error) && !fs::exists(folder() / "Makefile", error)) {
    return fail_hint(ENOENT, "lkm-run new cc NAME makes a module folder to start from",
                     "'{}' is no module folder: no Kbuild and no Makefile", folder().string());
  }
  LKM_CHECK(mirror_.sync());
  end_step("copy");
  LKM_CHECK(compile(tools));
  end_step("compile");
  LKM_TRY(result.modules, find_modules(mirror_));
  if (kernel_.kind == Kernel::Kind::kLibrary) {
    LKM_CHECK(link(result.modules, mirror_, tools));
    end_step("link");
  }
  if (options_.compile_commands) {
    // The build stands without it, in a folder that is not the user's to write for example.
    if (const auto written = write_compile_commands(mirror_, kernel_); !written) {
      log::debug("build", "{}", written.error().message());
    }
  }
  if (options_.fast && kernel_.kind == Kernel::Kind::kLibrary) {
    LKM_TRY(const FastPath path, fast_path());
    LKM_TRY(result.contents, path.adopt());
  }
  result.warnings = output_;
  return result;
}

Result<Verdict> ModuleBuild::judge(const BuildResult& replayed, int cancel_fd) {
  const Tools tools = this->tools({}, cancel_fd, kJudging);
  LKM_TRY(const FastPath path, fast_path());
  Verdict verdict;
  auto built = run_full(tools);
  verdict.output = output_;
  if (!built) {
    if (!is_build_failure(built.error())) return Failure(built.error());
    // Was it this source that it refused? A save meanwhile speaks for itself.
    LKM_TRY(const std::string contents, path.contents_of(mirror_));
    verdict.kind =
        contents == replayed.contents ? Verdict::Kind::kRefuses : Verdict::Kind::kOutdated;
    if (verdict.kind == Verdict::Kind::kRefuses) LKM_CHECK(path.forget());
    return verdict;
  }
  verdict.kbuild = std::move(*built);
  if (verdict.kbuild.contents != replayed.contents) {
    verdict.kind = Verdict::Kind::kOutdated;
    return verdict;
  }
  std::map<std::string, const BuiltModule*> replays;
  for (const BuiltModule& module : replayed.modules) replays[module.name] = &module;
  for (const BuiltModule& module : verdict.kbuild.modules) {
    const auto replay = replays.find(module.name);
    if (replay == replays.end()) {
      verdict.differences.push_back(module.name + " is missing");
      continue;
    }
    if (replay->second->build_id == module.build_id) continue;
    LKM_TRY(const auto differences, object_differences(replay->second->ko, module.ko));
    for (const auto& difference : differences) {
      verdict.differences.push_back(fmt::format("{}: {}", module.name, difference));
    }
  }
  if (!verdict.differences.empty()) {
    verdict.kind = Verdict::Kind::kDisagrees;
    LKM_CHECK(path.distrust());
  }
  return verdict;
}

Result<bool> ModuleBuild::prepare(int cancel_fd) {
  if (!options_.fast || kernel_.kind != Kernel::Kind::kLibrary) return false;
  const Tools tools = this->tools({}, cancel_fd, kPreparing);
  LKM_TRY(const FastPath path, fast_path());
  return path.prepare(tools);
}

Result<void> ModuleBuild::compile(const Tools& tools) {
  std::vector<std::string> command = {
      "make",
      "--silent",
      "--no-print-directory",
      fmt::format("-j{}", std::max(1u, std::thread::hardware_concurrency())),
      "-C",
      kernel_.build.native(),
      "M=" + mirror_.folder().native(),
      // Debug information, and the user's paths in it.
      fmt::format("KCFLAGS=-g -ffile-prefix-map={}={}", mirror_.tree().native(),
                  mirror_.parent().native()),
  };
  if (kernel_.kind == Kernel::Kind::kLibrary && !find_program("ccache").empty()) {
    command.push_back(fmt::format("CC=ccache {}", kernel_.llvm ? "clang" : "gcc"));
  }
  command.emplace_back("modules");
  LKM_TRY(const int status, tools.run(command, mirror_));
  if (status != 0) {
    return build_failure(BuildCode::kCompile, fmt::format("build '{}'", folder().string()));
  }
  return {};
}

Result<std::vector<BuiltModule>> ModuleBuild::find_modules(const Mirror& mirror) {
  const auto order = read_file(mirror.folder() / "modules.order");
  const auto files = parse_modules_order(order ? *order : "", mirror.folder());
  if (files.empty()) {
    return fail_hint(ENOENT, "a Kbuild file needs a line such as: obj-m := mycc.o",
                     "'{}' builds no module: its Kbuild or Makefile sets no obj-m",
                     mirror.source().string());
  }
  struct Found {
    BuiltModule module;
    std::vector<std::string> depends;
  };
  std::vector<Found> waiting;
  std::set<std::string> waiting_names;
  for (const auto& ko : files) {
    LKM_TRY(auto facts, read_module_file(ko));
    waiting_names.insert(facts.name);
    LKM_TRY(auto build_id, read_build_id(ko));
    waiting.push_back(
        {{.name = facts.name, .ko = ko, .plugin = {}, .build_id = std::move(build_id)},
         std::move(facts.depends)});
  }
  // Those that others depend on come first. Modules cannot depend on each other in a circle:
  // modpost refuses that (scripts/depmod would, too).
  std::vector<BuiltModule> modules;
  while (!waiting.empty()) {
    auto next = std::find_if(waiting.begin(), waiting.end(), [&](const Found& found) {
      return std::none_of(found.depends.begin(), found.depends.end(),
                          [&](const std::string& name) { return waiting_names.contains(name); });
    });
    if (next == waiting.end()) next = waiting.begin();
    waiting_names.erase(next->module.name);
    modules.push_back(std::move(next->module));
    waiting.erase(next);
  }
  return modules;
}

Result<void> ModuleBuild::link(std::vector<BuiltModule>& modules, const Mirror& mirror,
                               const Tools& tools) {
  // Linked side by side under their plain names first: that is how the linker finds those of this
  // folder that another one depends on.
  const fs::path linked = mirror.root() / "linked";
  std::error_code error;
  fs::create_directories(linked, error);
  if (error) return fail(error.value(), "make the folder '{}'", linked.string());
  for (auto& module : modules) {
    const fs::path so = linked / (module.name + ".so");
    LKM_TRY(const int status, tools.run({options_.linker.native(), module.ko.native(), so.native(),
                                         "--image", kernel_.folder.native()},
                                        mirror));
    // The linker's exit status 3 is "cannot be linked"; others say that it could not do its work.
    if (status == 3) {
      return build_failure(BuildCode::kLink, fmt::format("link module '{}'", module.name));
    }
    if (status != 0) {
      return fail(EIO, "link module '{}': '{}' failed with exit status {}", module.name,
                  options_.linker.string(), status);
    }
    LKM_TRY(module.build_id, read_build_id(so));
    LKM_TRY(auto stored, store_plugin(so, module.name, module.build_id, options_.plugins));
    module.plugin = std::move(stored.path);
    module.generation = stored.generation;
    module.is_new = stored.is_new;
  }
  return {};
}

}  // namespace lkm
