// SPDX-License-Identifier: GPL-2.0
#include "tests/modules/module_test.hpp"

#include <cstdlib>
#include <regex>

#include "toolkit/build/module_build.hpp"

namespace lkm {

namespace fs = std::filesystem;

void ModuleTest::with(const std::string& module,
                      const std::function<void(Stack&, const std::string& plugin)>& body) {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  if (image == nullptr) GTEST_SKIP() << "LKM_RUN_IMAGE is not set; Kbuild/kernel prints it";
  const fs::path source = LKM_SOURCE_DIR, work = LKM_WORK_DIR;
  auto build = ModuleBuild::open({.folder = source / "modules" / module,
                                  .kernel = image,
                                  .work = work / "builds",
                                  .plugins = work / "plugins",
                                  .linker = source / "Kbuild/plugin",
                                  .compile_commands = false});
  ASSERT_TRUE(build) << build.error().message();
  const auto built = build->run();
  ASSERT_TRUE(built) << built.error().message() << "\n" << build->output();
  EXPECT_EQ(built->warnings.find("warning:"), std::string::npos) << built->warnings;
  ASSERT_EQ(built->modules.size(), 1u);

  std::string log;
  const auto result = Stack::run({.library = fs::path(image) / "libos.so",
                                  .module_path = {fs::path(image) / "modules"},
                                  .clock = Clock::kVirtual,
                                  .console = [&](std::string_view text) { log += text; }},
                                 [&](Stack& stack) {
                                   body(stack, built->modules[0].plugin);
                                   return 0;
                                 });
  EXPECT_TRUE(result) << result.error().message() << "\n" << log;
  EXPECT_FALSE(std::regex_search(log, std::regex("WARNING:|BUG:|Oops|Call Trace"))) << log;
}

}  // namespace lkm
