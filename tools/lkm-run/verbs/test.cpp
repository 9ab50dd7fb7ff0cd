// SPDX-License-Identifier: GPL-2.0
#include <poll.h>

#include <algorithm>
#include <thread>

#include "toolkit/base/child.hpp"
#include "toolkit/base/fnv.hpp"
#include "tools/lkm-run/image.hpp"
#include "tools/lkm-run/interrupt.hpp"
#include "tools/lkm-run/module_source.hpp"
#include "tools/lkm-run/verb.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;

/// Where CMake finds the package lkm-run: by the program's own folder when installed, else in the build.
fs::path package_folder() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path installed = (program.parent_path() / LKM_RUN_PACKAGE).lexically_normal();
  return fs::exists(installed / "lkm-run-config.cmake", ignored) ? installed : fs::path(LKM_RUN_BUILD_PACKAGE);
}

std::string jobs() { return fmt::format("{}", std::max(1U, std::thread::hardware_concurrency())); }

/// The modules as plugins, for $LKM_RUN_MODULES.
Result<std::string> build_module(const fs::path& folder, const fs::path& image, Terminal& terminal,
                                 Interrupt& interrupt) {
  LKM_TRY(const auto home, home_folder());
  LKM_TRY(auto build, ModuleBuild::open({.folder = folder,
                                         .kernel = image,
                                         .work = cache_folder() / "builds",
                                         .plugins = cache_folder() / "plugins",
                                         .linker = home / "Kbuild" / "plugin"}));
  terminal.transient(fmt::format("building {}", folder.string()));
  LKM_TRY(const auto built,
          build.run([&](std::string_view line) { terminal.note(line.substr(0, line.size() - 1)); }, interrupt.fd()));
  std::string plugins;
  for (const BuiltModule& module : built.modules)
    plugins += fmt::format("{}{}", plugins.empty() ? "" : ":", module.plugin.string());
  return plugins;
}

/// Runs a step of the tests' own build; what it prints is shown when it fails. False then.
Result<bool> step(const std::vector<std::string>& argv, Terminal& terminal, Interrupt& interrupt) {
  LKM_TRY(auto child, Child::spawn({.argv = argv, .out = Child::Output::kPipe, .err = Child::Output::kWithOut}));
  LKM_TRY(const std::string text, interrupt.read_all(child));
  LKM_TRY(const ExitStatus status, child.wait());
  if (!status.success()) terminal.note(text);
  return status.success();
}

Result<bool> build_tests(const fs::path& tests, const fs::path& build, Terminal& terminal, Interrupt& interrupt) {
  terminal.transient(fmt::format("building {}", tests.string()));
  LKM_TRY(const bool configured,
          step({"cmake", "-S", tests, "-B", build, "-Dlkm-run_DIR=" + package_folder().string()}, terminal, interrupt));
  if (!configured) return false;
  return step({"cmake", "--build", build, "--parallel", jobs()}, terminal, interrupt);
}

Result<int> run(const Arguments& arguments, Terminal& terminal) {
  const fs::path folder = fs::absolute(arguments.operand(0)).lexically_normal();
  const fs::path tests = folder / "tests";
  std::error_code ignored;
  if (!fs::exists(tests / "CMakeLists.txt", ignored))
    return fail_hint(ENOENT, "see docs/lab.md, or take those of `lkm-run new cc NAME`", "tests '{}'",
                     (tests / "CMakeLists.txt").string());
  LKM_TRY(const auto image, present_image());
  LKM_TRY(auto interrupt, Interrupt::block());

  const auto modules = build_module(folder, image, terminal, interrupt);
  if (!modules) return explain(terminal, modules.error());
  const fs::path build = cache_folder() / "tests" / fmt::format("{:016x}", fnv1a(tests.string()));
  const auto built = build_tests(tests, build, terminal, interrupt);
  if (!built) return explain(terminal, built.error());
  if (!*built) {
    terminal.error(Error({}, fmt::format("the tests in '{}' do not build", tests.string())));
    return kBuildFailed;
  }

  std::vector<std::string> argv = {"ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "--parallel",
                                   jobs()};
  if (arguments.has("filter")) argv.insert(argv.end(), {"--tests-regex", arguments.value("filter")});
  if (arguments.has("junit")) argv.insert(argv.end(), {"--output-junit", fs::absolute(arguments.value("junit"))});
  LKM_TRY(auto child, Child::spawn({.argv = argv,
                                    .environment = {{"LKM_RUN_IMAGE", image}, {"LKM_RUN_MODULES", *modules}},
                                    .out = terminal.json() ? Child::Output::kNull : Child::Output::kInherit}));
  LKM_TRY(const auto woken, interrupt.wait(child.pidfd(), POLLIN));
  if (woken == Interrupt::Woken::kBySignal) return kInterrupted;
  LKM_TRY(const ExitStatus status, child.wait());
  if (terminal.json()) terminal.object({{"test", {{"folder", folder.string()}, {"passed", status.success()}}}});
  return status.success() ? kDone : kFailed;
}

}  // namespace

extern const Verb kTest;
const Verb kTest = {
    .name = "test",
    .summary = "run a module's own tests, in virtual time",
    .operands = "DIR",
    .description =
        "Builds the module in DIR and the tests in DIR/tests, and runs them. A test is C++ with GoogleTest and the "
        "fixtures of the lab: each run of a scenario is a stack of its own in virtual time, the same each time, in "
        "milliseconds. `lkm-run new` writes the first ones.\n\n"
        "DIR/tests is a CMake project, which finds the fixtures with find_package(lkm-run). It is built outside of "
        "DIR. Exit status 1 when a test fails, 3 when something does not build.",
    .options = {{.name = "filter", .value = "REGEX", .help = "only the tests whose names match"},
                {.name = "junit", .value = "FILE", .help = "write the results as JUnit XML too"}},
    .examples = {{"lkm-run test mycc", "all of mycc/tests"},
                 {"lkm-run test mycc --filter Queue --junit out.xml", "some, and a file for a CI"}},
    .least = 1,
    .most = 1,
    .complete = Operand::kFolder,
    .run = run,
};

}  // namespace lkm::cli
