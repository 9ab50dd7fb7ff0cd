// SPDX-License-Identifier: GPL-2.0
#include "tests/modules/module_test.hpp"

#include <cstdlib>
#include <map>
#include <regex>

#include "toolkit/base/file.hpp"
#include "toolkit/build/module_build.hpp"

namespace lkm {

namespace fs = std::filesystem;

namespace {

/// Builds a folder, without a warning.
std::string build(const fs::path& folder) {
  const fs::path source = LKM_SOURCE_DIR, work = LKM_WORK_DIR;
  auto build = ModuleBuild::open({.folder = folder,
                                  .kernel = std::getenv("LKM_RUN_IMAGE"),
                                  .work = work / "builds",
                                  .plugins = work / "plugins",
                                  .linker = source / "Kbuild/plugin",
                                  .compile_commands = false});
  if (!build) {
    ADD_FAILURE() << build.error().message();
    return {};
  }
  const auto built = build->run();
  if (!built) {
    ADD_FAILURE() << built.error().message() << "\n" << build->output();
    return {};
  }
  EXPECT_EQ(built->warnings.find("warning:"), std::string::npos) << built->warnings;
  EXPECT_EQ(built->modules.size(), 1u);
  return built->modules[0].plugin.string();
}

/// A file that is the same keeps its time, so that make has nothing to do.
void put(const fs::path& file, const std::string& text) {
  const auto before = read_file(file);
  if (before && *before == text) return;
  const auto written = replace_file(file, text);
  EXPECT_TRUE(written) << written.error().message();
}

/// Builds files of these names and contents, with the edits, in a folder of the module's name.
std::string build_edited(const std::string& module, std::map<std::string, std::string> files,
                         const std::vector<Edit>& edits) {
  if (std::getenv("LKM_RUN_IMAGE") == nullptr) return {};  // with() skips the test
  std::string all;
  for (const auto& [file, from, to] : edits) {
    auto& text = files[file];
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << "'" << from << "' is not in " << file;
    if (at == std::string::npos) return {};
    EXPECT_EQ(text.find(from, at + 1), std::string::npos) << "'" << from << "' is there twice";
    text.replace(at, from.size(), to);
    all += fmt::format("{}\n{}\n{}\n", file, from, to);
  }
  const fs::path folder = fs::path(LKM_WORK_DIR) / "edited" /
                          fmt::format("{:016x}", std::hash<std::string>()(all)) / module;
  fs::create_directories(folder);
  for (const auto& [file, text] : files) put(folder / file, text);
  return build(folder);
}

}  // namespace

void ModuleTest::with(const std::string& module,
                      const std::function<void(Stack&, const std::string& plugin)>& body,
                      Clock clock) {
  std::string plugin;
  if (std::getenv("LKM_RUN_IMAGE") != nullptr) {
    plugin = build(fs::path(LKM_SOURCE_DIR) / "modules" / module);
  }
  boot([&](Stack& stack) { body(stack, plugin); }, clock);
}

void ModuleTest::boot(const std::function<void(Stack&)>& body, Clock clock) {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
  if (HasFailure()) return;
  std::string log;
  const auto result = Stack::run({.library = fs::path(image) / "libos.so",
                                  .module_path = {fs::path(image) / "modules"},
                                  .clock = clock,
                                  .console = [&](std::string_view text) { log += text; }},
                                 [&](Stack& stack) {
                                   body(stack);
                                   return 0;
                                 });
  EXPECT_TRUE(result) << result.error().message() << "\n" << log;
  // Of an allocation that was made to fail there is a trace, too.
  const bool expected = log.find("FAULT_INJECTION: ") != std::string::npos;
  EXPECT_FALSE(std::regex_search(
      log, std::regex(expected ? "WARNING:|BUG:|Oops" : "WARNING:|BUG:|Oops|Call Trace")))
      << log;
  EXPECT_FALSE(std::regex_search(log, std::regex(", [a-z ]+ at [a-z0-9_]+\\+0x")))
      << "an audit's line:\n"
      << log;
}

std::string ModuleTest::edited(const std::string& module, const std::vector<Edit>& edits) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(fs::path(LKM_SOURCE_DIR) / "modules" / module))
    files[entry.path().filename()] = read_file(entry.path()).value();
  return build_edited(module, std::move(files), edits);
}

std::string ModuleTest::in_tree(const std::string& file, const std::vector<Edit>& edits,
                                const std::string& module) {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) return {};
  const auto text = read_file(fs::path(image) / "src" / file);
  EXPECT_TRUE(text) << text.error().message();
  if (!text) return {};
  const fs::path path(file), name = path.filename();
  const std::string called = module.empty() ? name.stem().string() : module;
  std::string kbuild = fmt::format("ccflags-y := -I$(srctree)/{}\nobj-m := {}.o\n",
                                   path.parent_path().string(), called);
  if (!module.empty()) kbuild += fmt::format("{}-y := {}.o\n", module, name.stem().string());
  return build_edited(called, {{name, *text}, {"Kbuild", kbuild}}, edits);
}

void expect_renewed(Stack& stack, const std::string& plugin) {
  expect_rearranged(stack, plugin, "");
}

void expect_rearranged(Stack& stack, const std::string& plugin, const std::string& line) {
  const auto report = stack.swap(plugin);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
  EXPECT_FALSE(report->init_changed);
  // The call traces that a debug kernel keeps of allocations lead into old builds.
  const bool keeps_traces = bool(stack.read_file("/sys/kernel/debug/debug_objects/stats"));
  EXPECT_TRUE(keeps_traces || report->builds_mapped <= 8) << report->builds_mapped;
  const auto& said = report->state_remarks;
  if (!line.empty()) {
    EXPECT_NE(std::ranges::find(said, line), said.end())
        << fmt::format("{}", fmt::join(said, "\n"));
  }
}

void expect_refused_in_place(Stack& stack, const std::string& plugin, const std::string& reason) {
  const auto report = stack.swap(plugin);
  ASSERT_FALSE(report) << "it was swapped";
  EXPECT_EQ(report.error().errno_value(), EBUSY);
  EXPECT_NE(report.error().message().find(reason), std::string::npos) << report.error().message();
}

void expect_unloads(Stack& stack, const std::string& name) {
  const StackTime deadline = stack.now() + std::chrono::seconds(10);
  auto unloaded = stack.unload(name);
  while (!unloaded && unloaded.error().errno_value() == EBUSY && stack.now() < deadline) {
    stack.sleep_for(std::chrono::milliseconds(20));
    unloaded = stack.unload(name);
  }
  EXPECT_TRUE(unloaded) << unloaded.error().message();
}

}  // namespace lkm
