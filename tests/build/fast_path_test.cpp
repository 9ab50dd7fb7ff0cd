// SPDX-License-Identifier: GPL-2.0
//
// The fast path, against Kbuild, for the library kernel at $LKM_RUN_IMAGE.
#include <gtest/gtest.h>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/build/module_build.hpp"
#include "toolkit/build/object_diff.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSource = R"(// SPDX-License-Identifier: GPL-2.0
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include <linux/module.h>
#include <linux/minmax.h>
#include "first.h"

static int value = FIRST;
module_param(value, int, 0644);

static int __init first_init(void)
{
	pr_info("in %s:%d\n", __FILE__, __LINE__);
	return value < 0 ? -EINVAL : 0;
}

static void __exit first_exit(void)
{
	/* the end */
}

module_init(first_init);
module_exit(first_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("test");
)";

class FastPathTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* image = std::getenv("LKM_RUN_IMAGE");
    if (image == nullptr)
      GTEST_SKIP() << "LKM_RUN_IMAGE names no library kernel; make check sets it";
    kernel_ = image;
    fs::create_directories(source_);
    write("first.c", kSource);
    write("first.h", "#define FIRST 1\n");
    write("Kbuild", "obj-m := first.o\n");
  }
  void write(const fs::path& name, const std::string& text) {
    ASSERT_TRUE(replace_file(source_ / name, text));
  }
  // The usual source with `from` replaced.
  void edit(const std::string& from, const std::string& to) {
    std::string text = kSource;
    text.replace(text.find(from), from.size(), to);
    write("first.c", text);
  }
  ModuleBuild open(bool fast = true) {
    auto build = ModuleBuild::open({.folder = source_,
                                    .kernel = kernel_,
                                    .work = dir_.path() / "work",
                                    .plugins = dir_.path() / "plugins",
                                    .linker = LKM_LINKER,
                                    .fast = fast});
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
  static void prepare(ModuleBuild& build) {
    const auto prepared = build.prepare();
    ASSERT_TRUE(prepared) << prepared.error().message();
    EXPECT_TRUE(*prepared);
  }
  // Kbuild has built, and the next edit of what was edited last can be fast.
  ModuleBuild prepared() {
    auto build = open();
    EXPECT_FALSE(run(build).fast);
    prepare(build);
    return build;
  }
  static Verdict judge(ModuleBuild& build, const BuildResult& replayed) {
    auto verdict = build.judge(replayed);
    if (!verdict) {
      ADD_FAILURE() << verdict.error().message();
      return {};
    }
    return std::move(*verdict);
  }

  TempDir dir_ = std::move(*TempDir::make());
  fs::path source_ = dir_.path() / "project/first";
  fs::path kernel_;
};

using Names = std::vector<std::string>;

TEST_F(FastPathTest, BuildsAnEditOfOneSourceAsKbuildDoes) {
  auto build = prepared();
  edit("return value < 0", "value = min(value, 8);\n\treturn value < 0");
  const auto fast = run(build);
  ASSERT_TRUE(fast.fast) << fast.why_full;
  ASSERT_EQ(fast.modules.size(), 1u);
  EXPECT_EQ(fast.modules[0].generation, 2u);
  Names steps;
  for (const auto& step : fast.steps) steps.push_back(step.name);
  EXPECT_EQ(steps, (Names{"copy", "compile", "check", "link"}));

  const auto verdict = judge(build, fast);
  EXPECT_EQ(verdict.kind, Verdict::Kind::kAgrees) << testing::PrintToString(verdict.differences);
  ASSERT_EQ(verdict.kbuild.modules.size(), 1u);
  const fs::path kbuild = verdict.kbuild.modules[0].ko;
  EXPECT_NE(fast.modules[0].ko, kbuild);
  EXPECT_EQ(*object_differences(fast.modules[0].ko, kbuild), Names{});
  // Also the debug information is the same: it is the very plugin.
  EXPECT_EQ(verdict.kbuild.modules[0].plugin, fast.modules[0].plugin);
}

TEST_F(FastPathTest, GoesOnFromAnEditThatWasNotJudged) {
  auto build = prepared();
  for (int i = 2; i < 5; ++i) {
    edit("value = FIRST", fmt::format("value = {}", i));
    const auto fast = run(build);
    EXPECT_TRUE(fast.fast) << fast.why_full;
    EXPECT_TRUE(fast.modules.at(0).is_new);
  }
  // Back to what Kbuild built: nothing to compile, and its plugin.
  write("first.c", kSource);
  const auto back = run(build);
  EXPECT_TRUE(back.fast) << back.why_full;
  EXPECT_FALSE(back.modules.at(0).is_new);
  EXPECT_EQ(back.modules.at(0).generation, 1u);
}

TEST_F(FastPathTest, IsTakenByAnotherObjectOfTheSameFolder) {
  prepared();
  auto build = open();
  edit("value = FIRST", "value = 7");
  EXPECT_TRUE(run(build).fast);
}

TEST_F(FastPathTest, LeavesToKbuildWhatItCannotVouchFor) {
  const auto why = [&](const std::function<void()>& change) {
    write("first.c", kSource);
    write("first.h", "#define FIRST 1\n");
    write("Kbuild", "obj-m := first.o\n");
    fs::remove(source_ / "second.h");
    auto build = open();
    run(build);
    prepare(build);
    edit("the end", "an end");
    EXPECT_TRUE(run(build).fast);
    change();
    const auto full = run(build);
    EXPECT_FALSE(full.fast);
    return full.why_full;
  };
  EXPECT_EQ(why([&] { write("first.h", "#define FIRST 2\n"); }),
            "first.c, first.h changed together");
  EXPECT_EQ(why([&] {
              write("first.c", kSource);
              write("first.h", "#define FIRST 2\n");
            }),
            "first.h changed");
  EXPECT_EQ(why([&] {
              write("first.c", kSource);
              write("Kbuild", "obj-m := first.o\nccflags-y := -DX\n");
            }),
            "Kbuild changed");
  EXPECT_EQ(why([&] { write("second.h", ""); }), "second.h is new");
  EXPECT_EQ(why([&] { edit("#include <linux/minmax.h>", "#include <linux/slab.h>"); }),
            "the #include lines of first.c changed");
  EXPECT_EQ(why([&] { edit("MODULE_LICENSE", "MODULE_VERSION(\"2\");\nMODULE_LICENSE"); }),
            "what first needs or offers changed: dependencies, exports, aliases or version");
  EXPECT_EQ(why([&] {
              edit("module_init(", "int first_limit;\nEXPORT_SYMBOL(first_limit);\nmodule_init(");
            }),
            "what first needs or offers changed: dependencies, exports, aliases or version");
}

TEST_F(FastPathTest, SeesAChangedHeaderBesideTheFolder) {
  fs::create_directory(source_.parent_path() / "common");
  const fs::path header = source_.parent_path() / "common/limit.h";
  ASSERT_TRUE(replace_file(header, "#define LIMIT 0\n"));
  edit("#include \"first.h\"", "#include \"first.h\"\n#include \"../common/limit.h\"");
  auto build = prepared();
  ASSERT_TRUE(replace_file(header, "#define LIMIT 10\n"));
  EXPECT_EQ(run(build).why_full, header.native() + " changed");
}

TEST_F(FastPathTest, TakesANewImportFromTheKernelAndRefusesOneThatIsNotThere) {
  auto build = prepared();
  edit("return value < 0", "schedule();\n\treturn value < 0");
  const auto fast = run(build);
  EXPECT_TRUE(fast.fast) << fast.why_full;
  EXPECT_EQ(judge(build, fast).kind, Verdict::Kind::kAgrees);

  edit("return value < 0",
       "extern int no_such_symbol(void);\n\treturn no_such_symbol() + value < 0");
  EXPECT_TRUE(is_build_failure(build.run().error()));
  const std::string said = build.output();
  EXPECT_NE(said.find("no_such_symbol"), std::string::npos) << said;
}

TEST_F(FastPathTest, RenewsTheHashOfTheSourcesThatAVersionedModuleCarries) {
  edit("MODULE_LICENSE", "MODULE_VERSION(\"1\");\nMODULE_LICENSE");
  auto build = prepared();
  std::string text = *read_file(source_ / "first.c");
  text.replace(text.find("value < 0"), 9, "value < 2");
  write("first.c", text);
  const auto fast = run(build);
  ASSERT_TRUE(fast.fast) << fast.why_full;
  EXPECT_EQ(judge(build, fast).kind, Verdict::Kind::kAgrees);
}

TEST_F(FastPathTest, ShowsErrorsAndWarningsAsKbuildDoes) {
  auto fast = prepared();
  auto full = open(false);
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"return value", "return valeu"},                    // in the source
           {"return value", "int unused;\n\treturn value"},     // a warning
           {"return value", "return min(value, 1UL) + value"},  // in a macro of a header
           {"return value", "#error no\n\treturn value"}}) {
    edit(from, to);
    const bool built = fast.run().has_value();
    const std::string said = fast.output();
    fs::remove_all(dir_.path() / "work2");
    // Kbuild does not repeat the warnings of what is up to date.
    auto fresh = ModuleBuild::open({.folder = source_,
                                    .kernel = kernel_,
                                    .work = dir_.path() / "work2",
                                    .plugins = dir_.path() / "plugins",
                                    .linker = LKM_LINKER});
    EXPECT_EQ(fresh->run().has_value(), built);
    EXPECT_EQ(said, fresh->output());
    EXPECT_NE(said.find(source_.native() + "/first.c:"), std::string::npos) << said;
  }
}

TEST_F(FastPathTest, LinksAModuleOfSeveralSources) {
  write("Kbuild", "obj-m := pair.o\npair-y := first.o second.o\n");
  write("second.c",
        "#include <linux/module.h>\nint second(void);\nint second(void) { return 1; }\n");
  auto build = open();
  run(build);
  write("second.c",
        "#include <linux/module.h>\nint second(void);\nint second(void) { return 2; }\n");
  run(build);
  prepare(build);
  write("second.c",
        "#include <linux/module.h>\nint second(void);\nint second(void) { return 3; }\n");
  const auto fast = run(build);
  ASSERT_TRUE(fast.fast) << fast.why_full;
  EXPECT_EQ(judge(build, fast).kind, Verdict::Kind::kAgrees);
  // The other source has no header yet; afterwards it has.
  edit("the end", "an end");
  const auto full = run(build);
  EXPECT_EQ(full.why_full, "first.c has no precompiled header yet");
  prepare(build);
  edit("value = FIRST", "value = 9");
  EXPECT_TRUE(run(build).fast);
  // Kbuild's second.o, not that of some replay before.
  write("second.c",
        "#include <linux/module.h>\nint second(void);\nint second(void) { return 4; }\n");
  EXPECT_EQ(run(build).why_full, "first.c, second.c changed together");
}

TEST_F(FastPathTest, KeepsAFileAwayThatAPrecompiledHeaderDoesNotSuit) {
  // Included a second time, it gives something else.
  write("first.h", "#ifdef FIRST\n#undef FIRST\n#define FIRST 2\n#else\n#define FIRST 1\n#endif\n");
  auto build = open();
  run(build);
  const auto prepared = build.prepare();
  ASSERT_TRUE(prepared) << prepared.error().message();
  EXPECT_FALSE(*prepared);
  edit("the end", "an end");
  EXPECT_EQ(run(build).why_full, "a precompiled header does not suit first.c");
}

TEST_F(FastPathTest, KeepsTheHeadersUsedLast) {
  // Eight that were used before this one.
  const fs::path others = dir_.path() / "work";
  for (int i = 0; i < 8; ++i) {
    const fs::path folder = others / fmt::format("other-{}/fast/preamble", i);
    fs::create_directories(folder);
    ASSERT_TRUE(replace_file(folder / "x.o.h", ""));
    ASSERT_TRUE(replace_file(folder / "x.o.h.gch", ""));
    fs::last_write_time(folder / "x.o.h.gch",
                        fs::file_time_type::clock::now() - std::chrono::hours(i == 3 ? 100 : 1));
  }
  auto build = prepared();
  for (int i = 0; i < 8; ++i) {
    const fs::path folder = others / fmt::format("other-{}/fast/preamble", i);
    EXPECT_EQ(fs::exists(folder / "x.o.h"), i != 3) << i;
    EXPECT_EQ(fs::exists(folder / "x.o.h.gch"), i != 3) << i;
  }
  edit("the end", "an end");
  EXPECT_TRUE(run(build).fast);
}

TEST_F(FastPathTest, BelievesKbuildWhenItDisagrees) {
  write("Kbuild", "obj-m := first.o\nccflags-y := -DBUILT=$(shell date +%N | sed s/^0*//)\n");
  edit("value = FIRST", "value = BUILT");
  auto build = open();
  run(build);
  prepare(build);
  edit("value = FIRST", "value = BUILT + 1");
  const auto fast = run(build);
  ASSERT_TRUE(fast.fast) << fast.why_full;
  const auto verdict = judge(build, fast);
  EXPECT_EQ(verdict.kind, Verdict::Kind::kDisagrees);
  EXPECT_EQ(verdict.differences, Names{"first: section .data.value"});
  EXPECT_NE(verdict.kbuild.modules.at(0).plugin, fast.modules.at(0).plugin);
  // Once bitten …
  prepare(build);
  edit("value = FIRST", "value = BUILT + 2");
  EXPECT_EQ(run(build).why_full, "Kbuild did not agree the last time");
  // … until the cause may be gone.
  write("Kbuild", "obj-m := first.o\n");
  write("first.c", kSource);
  run(build);
  prepare(build);
  edit("value = FIRST", "value = 3");
  const auto again = run(build);
  EXPECT_TRUE(again.fast) << again.why_full;
}

TEST_F(FastPathTest, SaysWhenKbuildRefusesWhatWasReplayed) {
  const fs::path stop = dir_.path() / "stop";
  write("Kbuild",
        fmt::format("obj-m := first.o\n$(if $(wildcard {}),$(error no more))\n", stop.native()));
  auto build = prepared();
  edit("value = FIRST", "value = 3");
  const auto fast = run(build);
  ASSERT_TRUE(fast.fast) << fast.why_full;
  ASSERT_TRUE(replace_file(stop, ""));
  const auto verdict = judge(build, fast);
  EXPECT_EQ(verdict.kind, Verdict::Kind::kRefuses);
  EXPECT_NE(verdict.output.find("no more"), std::string::npos) << verdict.output;
  // Until it builds again.
  EXPECT_FALSE(*build.prepare());
  fs::remove(stop);
  EXPECT_EQ(run(build).why_full, "there is no build to start from");
  prepare(build);
  write("first.c", kSource);
  EXPECT_TRUE(run(build).fast);
}

TEST_F(FastPathTest, DoesNotJudgeASaveByTheNextOne) {
  auto build = prepared();
  edit("value = FIRST", "value = 3");
  const auto fast = run(build);
  ASSERT_TRUE(fast.fast) << fast.why_full;
  edit("value = FIRST", "value = 4");
  EXPECT_EQ(judge(build, fast).kind, Verdict::Kind::kOutdated);
  edit("value = FIRST", "valeu = 4");
  EXPECT_EQ(judge(build, fast).kind, Verdict::Kind::kOutdated);
}

}  // namespace
}  // namespace lkm
