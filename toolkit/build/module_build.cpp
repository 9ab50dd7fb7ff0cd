// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/module_build.hpp"

#include <poll.h>
#include <sys/file.h>

#include <algorithm>
#include <set>
#include <thread>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/fnv.hpp"
#include "toolkit/base/log.hpp"
#include "toolkit/build/compile_commands.hpp"
#include "toolkit/build/kbuild_files.hpp"
#include "toolkit/build/module_file.hpp"
#include "toolkit/build/plugin_store.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

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

// make's own report of a recipe that failed: "make[3]: *** [/…/Makefile.build:229: /…/x.o] Error
// 1". It repeats what the compiler said, by name of a file in the copy. Other words of make's ("No
// rule to make target") are news.
bool is_trace_of_make(std::string_view line) {
  if (!line.starts_with("make")) return false;
  const std::size_t stars = line.find(": *** [");
  return stars != std::string_view::npos &&
         line.substr(0, stars).find(' ') == std::string_view::npos;
}

bool is_installed(std::string_view program) {
  const char* path = std::getenv("PATH");
  for (std::string_view left = path != nullptr ? path : ""; !left.empty();) {
    const std::string_view folder = left.substr(0, left.find(':'));
    left.remove_prefix(std::min(left.size(), folder.size() + 1));
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  }
  return false;
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

struct ModuleBuild::Console {
  const Sink& sink;
  int cancel_fd;
};

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

Result<BuildResult> ModuleBuild::run(const Sink& sink, int cancel_fd) {
  const Console console{sink, cancel_fd};
  output_.clear();
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
  LKM_CHECK(compile(console));
  end_step("compile");
  LKM_TRY(result.modules, find_modules());
  if (kernel_.kind == Kernel::Kind::kLibrary) {
    LKM_CHECK(link(result.modules, console));
    end_step("link");
  }
  if (options_.compile_commands) {
    // The build stands without it, in a folder that is not the user's to write for example.
    if (const auto written = write_compile_commands(mirror_, kernel_); !written) {
      log::debug("build", "{}", written.error().message());
    }
  }
  result.warnings = output_;
  return result;
}

Result<void> ModuleBuild::compile(const Console& console) {
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
  if (kernel_.kind == Kernel::Kind::kLibrary && is_installed("ccache")) {
    command.push_back(fmt::format("CC=ccache {}", kernel_.llvm ? "clang" : "gcc"));
  }
  command.emplace_back("modules");
  LKM_TRY(const int status, run_tool(command, console));
  if (status != 0) {
    return build_failure(BuildCode::kCompile, fmt::format("build '{}'", folder().string()));
  }
  return {};
}

Result<std::vector<BuiltModule>> ModuleBuild::find_modules() const {
  const auto order = read_file(mirror_.folder() / "modules.order");
  const auto files = parse_modules_order(order ? *order : "", mirror_.folder());
  if (files.empty()) {
    return fail_hint(ENOENT, "a Kbuild file needs a line such as: obj-m := mycc.o",
                     "'{}' builds no module: its Kbuild or Makefile sets no obj-m",
                     folder().string());
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

Result<void> ModuleBuild::link(std::vector<BuiltModule>& modules, const Console& console) {
  // Linked side by side under their plain names first: that is how the linker finds those of this
  // folder that another one depends on.
  const fs::path linked = mirror_.root() / "linked";
  std::error_code error;
  fs::create_directories(linked, error);
  if (error) return fail(error.value(), "make the folder '{}'", linked.string());
  for (auto& module : modules) {
    const fs::path so = linked / (module.name + ".so");
    LKM_TRY(const int status, run_tool({options_.linker.native(), module.ko.native(), so.native(),
                                        "--image", kernel_.folder.native()},
                                       console));
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

Result<int> ModuleBuild::run_tool(const std::vector<std::string>& command, const Console& console) {
  Child::Options options{
      .argv = command, .out = Child::Output::kPipe, .err = Child::Output::kWithOut};
  // What a make or shell around us exports must not reach the kernel's make.
  for (const char* name : {"MAKEFLAGS",
                           "MFLAGS",
                           "GNUMAKEFLAGS",
                           "MAKELEVEL",
                           "MAKEOVERRIDES",
                           "ARCH",
                           "CROSS_COMPILE",
                           "CC",
                           "LD",
                           "LLVM",
                           "O",
                           "M",
                           "V",
                           "W",
                           "C",
                           "KCFLAGS",
                           "KBUILD_OUTPUT",
                           "KBUILD_EXTMOD",
                           "KCONFIG_CONFIG",
                           "KERNELRELEASE"}) {
    options.environment[name] = std::nullopt;
  }
  auto started = Child::spawn(options);
  if (!started) {
    const int error = started.error().errno_value();
    return Failure(
        std::move(started.error())
            .with_hint(error == ENOENT && command[0] == "make" ? "apt-get install make" : ""));
  }
  Child child = std::move(*started);

  std::string partial;
  for (;;) {
    struct pollfd polls[2] = {{.fd = child.out().get(), .events = POLLIN, .revents = 0},
                              {.fd = console.cancel_fd, .events = POLLIN, .revents = 0}};
    if (::poll(polls, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return fail(errno, "wait for '{}'", command[0]);
    }
    if (polls[1].revents != 0) {
      // Asked to end, make removes the targets that are half made; killed, it would leave them, and
      // take them for whole the next time.
      LKM_CHECK(child.stop(std::chrono::seconds(5)));
      return fail(ECANCELED, "build '{}'", folder().string());
    }
    char buffer[8192];
    const ssize_t got = ::read(child.out().get(), buffer, sizeof buffer);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return fail(errno, "read the output of '{}'", command[0]);
    if (got == 0) break;
    partial.append(buffer, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end; (end = partial.find('\n', begin)) != std::string::npos; begin = end + 1) {
      take_line(partial.substr(begin, end + 1 - begin), console);
    }
    partial.erase(0, begin);
  }
  if (!partial.empty()) take_line(partial + '\n', console);
  LKM_TRY(const ExitStatus status, child.wait());
  if (status.signal != 0) {
    return fail(ECHILD, "'{}' was ended by signal {}", command[0], status.signal);
  }
  return status.code;
}

void ModuleBuild::take_line(std::string line, const Console& console) {
  if (is_trace_of_make(line)) return;
  line = mirror_.as_user_sees(std::move(line));
  output_ += line;
  if (console.sink) console.sink(line);
}

}  // namespace lkm
