// SPDX-License-Identifier: GPL-2.0
//
// Real builds: for the distribution's kernel headers, and for the library kernel at $LKM_RUN_IMAGE.
#include "toolkit/build/module_build.hpp"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <nlohmann/json.hpp>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/build/module_file.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSource = R"(// SPDX-License-Identifier: GPL-2.0
#include <linux/init.h>
#include <linux/module.h>

static int value = 1;
module_param(value, int, 0644);

static int __init first_init(void)
{
	return value < 0 ? -EINVAL : 0;
}

static void __exit first_exit(void)
{
}

module_init(first_init);
module_exit(first_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test");
)";

// The newest installed kernel headers.
fs::path distribution_kernel() {
  fs::path newest;
  std::error_code error;
  for (fs::directory_iterator it("/lib/modules", error), end; !error && it != end;
       it.increment(error)) {
    const fs::path build = it->path() / "build";
    if (fs::exists(build / "Makefile", error) && build > newest) newest = build;
  }
  return newest;
}

class ModuleBuildTest : public testing::Test {
 protected:
  void SetUp() override {
    kernel_ = distribution_kernel();
    ASSERT_FALSE(kernel_.empty()) << "no kernel headers: apt-get install linux-headers-amd64";
    fs::create_directories(source_);
    write("first.c", kSource);
    write("Kbuild", "obj-m := first.o\n");
  }
  void write(const fs::path& name, const std::string& text) {
    ASSERT_TRUE(replace_file(source_ / name, text));
  }
  // As `write`, of the usual source with `from` replaced.
  void edit(const std::string& from, const std::string& to) {
    std::string text = kSource;
    text.replace(text.find(from), from.size(), to);
    write("first.c", text);
  }
  ModuleBuild open() {
    auto build = ModuleBuild::open({.folder = source_,
                                    .kernel = kernel_,
                                    .work = dir_.path() / "work",
                                    .plugins = dir_.path() / "plugins",
                                    .linker = LKM_LINKER});
    EXPECT_TRUE(build) << build.error().message();
    return std::move(build.value());
  }
  static BuildResult run(ModuleBuild& build) {
    auto result = build.run();
    if (!result) {
      ADD_FAILURE() << result.error().message() << "\n" << build.output();
      return {};
    }
    return std::move(*result);
  }
  static std::vector<std::string> names(const BuildResult& result) {
    std::vector<std::string> list;
    for (const auto& module : result.modules) list.push_back(module.name);
    return list;
  }

  TempDir dir_ = std::move(*TempDir::make());
  fs::path source_ = dir_.path() / "project/first";
  fs::path kernel_;
};

using Names = std::vector<std::string>;

TEST_F(ModuleBuildTest, BuildsAModuleForTheDistributionsKernelAndKeepsItsFolderClean) {
  auto build = open();
  const auto result = run(build);
  ASSERT_EQ(names(result), Names{"first"});
  EXPECT_TRUE(result.modules[0].plugin.empty());
  EXPECT_EQ(read_module_file(result.modules[0].ko)->name, "first");
  EXPECT_EQ(result.modules[0].build_id.size(), 40u);
  ASSERT_EQ(result.steps.size(), 2u);
  EXPECT_EQ(result.steps[1].name, "compile");
  EXPECT_GT(result.steps[1].duration.count(), 0);
  Names left;
  for (const auto& entry : fs::directory_iterator(source_)) left.push_back(entry.path().filename());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left, (Names{"Kbuild", "compile_commands.json", "first.c"}));
}

TEST_F(ModuleBuildTest, ShowsACompileErrorWithTheUsersPathAndRecovers) {
  edit("return value", "return valeu");
  auto build = open();
  std::string streamed;
  const auto failed = build.run([&](std::string_view line) { streamed += line; });
  ASSERT_FALSE(failed);
  EXPECT_TRUE(is_build_failure(failed.error()));
  EXPECT_NE(failed.error().what().find(source_.native()), std::string::npos);
  EXPECT_EQ(streamed, build.output());
  EXPECT_NE(streamed.find(source_.native() + "/first.c:10:16: error: "), std::string::npos)
      << streamed;
  EXPECT_NE(streamed.find("valeu"), std::string::npos);
  EXPECT_EQ(streamed.find((dir_.path() / "work").native()), std::string::npos) << streamed;
  EXPECT_EQ(streamed.find("make"), std::string::npos) << streamed;

  write("first.c", kSource);
  EXPECT_EQ(names(run(build)), Names{"first"});
  EXPECT_EQ(build.output().find("error"), std::string::npos);
}

TEST_F(ModuleBuildTest, GivesTheCompilersWarnings) {
  edit("return value", "int unused;\n\treturn value");
  auto build = open();
  EXPECT_NE(run(build).warnings.find("unused variable"), std::string::npos);
}

TEST_F(ModuleBuildTest, BuildsSeveralModulesInOrderOfDependency) {
  write("user.c", std::string(kSource) +
                      "\nextern int base_value(void);\nint use(void);\n"
                      "int use(void) { return base_value(); }\n");
  write("zbase-part.c",
        "#include <linux/module.h>\nint base_value(void);\n"
        "int base_value(void) { return 1; }\nEXPORT_SYMBOL_GPL(base_value);\n"
        "MODULE_LICENSE(\"GPL\");\nMODULE_DESCRIPTION(\"test\");\n");
  write("Kbuild", "obj-m := user.o zbase-part.o\n");
  auto build = open();
  EXPECT_EQ(names(run(build)), (Names{"zbase_part", "user"}));
}

TEST_F(ModuleBuildTest, FindsHeadersBesideTheFolder) {
  fs::create_directory(source_.parent_path() / "common");
  ASSERT_TRUE(replace_file(source_.parent_path() / "common/limit.h", "#define LIMIT 0\n"));
  write("first.c", "#include \"../common/limit.h\"\n" + std::string(kSource));
  auto build = open();
  EXPECT_EQ(names(run(build)), Names{"first"});
}

TEST_F(ModuleBuildTest, BuildsWhatIsListedNowAfterTheKbuildFileChanged) {
  auto build = open();
  run(build);
  fs::rename(source_ / "first.c", source_ / "second.c");
  write("Kbuild", "obj-m := second.o\n");
  EXPECT_EQ(names(run(build)), Names{"second"});
}

TEST_F(ModuleBuildTest, TakesAMakefileThatAlsoCallsTheKernelsMake) {
  fs::remove(source_ / "Kbuild");
  write("Makefile",
        "obj-m := first.o\nall:\n\t$(MAKE) -C /lib/modules/$(shell uname -r)/build "
        "M=$(CURDIR) modules\n");
  auto build = open();
  EXPECT_EQ(names(run(build)), Names{"first"});
}

TEST_F(ModuleBuildTest, IsNotMisledByTheMakeThatCallsIt) {
  ::setenv("MAKEFLAGS", "n -- M=/nowhere", 1);
  ::setenv("ARCH", "sparc", 1);
  auto build = open();
  EXPECT_EQ(names(run(build)), Names{"first"});
  ::unsetenv("MAKEFLAGS");
  ::unsetenv("ARCH");
}

TEST_F(ModuleBuildTest, WritesCompileCommandsThatAParserOfCUnderstands) {
  auto build = open();
  run(build);
  const auto commands = nlohmann::json::parse(*read_file(source_ / "compile_commands.json"));
  ASSERT_EQ(commands.size(), 1u);
  EXPECT_EQ(commands[0]["file"], (source_ / "first.c").native());
  const std::string command = commands[0]["command"];
  EXPECT_EQ(command.find((dir_.path() / "work").native()), std::string::npos) << command;
  // The command as it stands there compiles the user's file.
  auto compiler = Child::spawn({.argv = {"sh", "-c", command + " -fsyntax-only -o /dev/null"},
                                .directory = commands[0]["directory"].get<std::string>(),
                                .out = Child::Output::kPipe,
                                .err = Child::Output::kWithOut});
  const auto text = compiler->read_all();
  EXPECT_TRUE(compiler->wait()->success()) << *text;
  EXPECT_FALSE(fs::exists(source_ / ".first.o.d"));
}

TEST_F(ModuleBuildTest, LeavesCompileCommandsOutWhenNotWanted) {
  auto build = ModuleBuild::open({.folder = source_,
                                  .kernel = kernel_,
                                  .work = dir_.path() / "work",
                                  .compile_commands = false});
  run(*build);
  EXPECT_FALSE(fs::exists(source_ / "compile_commands.json"));
}

TEST_F(ModuleBuildTest, SaysWhatAFolderLacksToBeAModule) {
  fs::remove(source_ / "Kbuild");
  auto build = open();
  auto result = build.run();
  ASSERT_FALSE(result);
  EXPECT_FALSE(is_build_failure(result.error()));
  EXPECT_NE(result.error().message().find("no Kbuild and no Makefile"), std::string::npos);
  EXPECT_FALSE(result.error().hint().empty());

  write("Kbuild", "obj-m :=\n");
  result = build.run();
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("obj-m"), std::string::npos) << build.output();
}

TEST_F(ModuleBuildTest, PassesOnWhatMakeSaysOfAMissingSource) {
  write("Kbuild", "obj-m := missing.o\n");
  auto build = open();
  const auto result = build.run();
  ASSERT_FALSE(result);
  EXPECT_TRUE(is_build_failure(result.error()));
  EXPECT_NE(build.output().find("No rule to make target"), std::string::npos) << build.output();
}

TEST_F(ModuleBuildTest, StopsWhenAskedToAndBuildsTheNextTime) {
  const UniqueFd stop(::eventfd(1, EFD_CLOEXEC));
  auto build = open();
  const auto stopped = build.run({}, stop.get());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code(), std::error_code(ECANCELED, std::generic_category()));
  EXPECT_EQ(names(run(build)), Names{"first"});
}

TEST_F(ModuleBuildTest, RefusesAKernelThatIsNone) {
  for (const auto& kernel : {dir_.path(), dir_.path() / "missing"}) {
    const auto build =
        ModuleBuild::open({.folder = source_, .kernel = kernel, .work = dir_.path()});
    ASSERT_FALSE(build);
    EXPECT_FALSE(build.error().hint().empty());
  }
}

// -- for the library kernel ----------------------------------------------------------------------

class PluginBuildTest : public ModuleBuildTest {
 protected:
  void SetUp() override {
    ModuleBuildTest::SetUp();
    const char* image = std::getenv("LKM_RUN_IMAGE");
    if (image == nullptr)
      GTEST_SKIP() << "LKM_RUN_IMAGE names no library kernel; make check sets it";
    kernel_ = image;
  }
};

TEST_F(PluginBuildTest, LinksEachBuildIntoAPluginOfItsOwn) {
  auto build = open();
  const auto first = run(build);
  ASSERT_EQ(names(first), Names{"first"});
  EXPECT_TRUE(fs::exists(first.modules[0].plugin));
  EXPECT_EQ(first.modules[0].generation, 1u);
  EXPECT_EQ(*read_build_id(first.modules[0].plugin), first.modules[0].build_id);

  const auto same = run(build);
  EXPECT_EQ(same.modules.at(0).plugin, first.modules[0].plugin);
  EXPECT_FALSE(same.modules.at(0).is_new);

  edit("value = 1", "value = 2");
  const auto second = run(build);
  EXPECT_NE(second.modules.at(0).plugin, first.modules[0].plugin);
  EXPECT_EQ(second.modules.at(0).generation, 2u);
  EXPECT_TRUE(fs::exists(first.modules[0].plugin));
}

TEST_F(PluginBuildTest, KeepsTheUsersPathsInTheDebugInformation) {
  auto build = open();
  const auto plugin = run(build).modules.at(0).plugin;
  const std::string content = *read_file(plugin);
  EXPECT_NE(content.find(source_.native()), std::string::npos);
  EXPECT_EQ(content.find((dir_.path() / "work").native()), std::string::npos);
}

TEST_F(PluginBuildTest, LinksModulesThatDependOnEachOther) {
  write("user.c", std::string(kSource) +
                      "\nextern int base_value(void);\nint use(void);\n"
                      "int use(void) { return base_value(); }\n");
  write("zbase.c",
        "#include <linux/module.h>\nint base_value(void);\n"
        "int base_value(void) { return 1; }\nEXPORT_SYMBOL_GPL(base_value);\n"
        "MODULE_LICENSE(\"GPL\");\nMODULE_DESCRIPTION(\"test\");\n");
  write("Kbuild", "obj-m := user.o zbase.o\n");
  auto build = open();
  EXPECT_EQ(names(run(build)), (Names{"zbase", "user"}));
}

TEST_F(PluginBuildTest, SaysWhichSymbolTheKernelDoesNotHave) {
  edit("return value", "extern int no_such_symbol(void);\n\treturn no_such_symbol() + value");
  auto build = open();
  const auto result = build.run();
  ASSERT_FALSE(result);
  EXPECT_TRUE(is_build_failure(result.error()));
  EXPECT_NE(build.output().find("no_such_symbol"), std::string::npos) << build.output();
}

TEST_F(PluginBuildTest, BuildsTheSameFolderForBothKernelsInTurn) {
  auto library = open();
  kernel_ = distribution_kernel();
  auto distribution = open();
  for (int turn = 0; turn < 2; ++turn) {
    edit("value = 1", fmt::format("value = {}", turn + 10));
    const auto plugin = run(library);
    const auto ko = run(distribution);
    ASSERT_EQ(plugin.modules.size(), 1u);
    ASSERT_EQ(ko.modules.size(), 1u);
    EXPECT_NE(read_module_file(plugin.modules[0].ko)->vermagic,
              read_module_file(ko.modules[0].ko)->vermagic);
  }
}

TEST_F(PluginBuildTest, WritesCommandsThatClangdUnderstands) {
  auto build = open();
  run(build);
  const auto commands = nlohmann::json::parse(*read_file(source_ / "compile_commands.json"));
  const std::string command = commands.at(0).at("command");
  // clangd parses as clang does: the command must go through with clang in the compiler's place.
  const std::string options = command.substr(command.find(" -"));
  auto clang =
      Child::spawn({.argv = {"sh", "-c", "clang" + options + " -fsyntax-only -o /dev/null"},
                    .directory = commands.at(0).at("directory").get<std::string>(),
                    .out = Child::Output::kPipe,
                    .err = Child::Output::kWithOut});
  const auto text = clang->read_all();
  EXPECT_TRUE(clang->wait()->success()) << *text;
}

}  // namespace
}  // namespace lkm
