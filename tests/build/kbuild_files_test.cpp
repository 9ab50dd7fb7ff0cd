// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/kbuild_files.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

using Paths = std::vector<std::filesystem::path>;

TEST(ModulesOrder, NamesKoFilesWhetherItListsObjectsOrModules) {
  EXPECT_EQ(parse_modules_order("/m/a.o\n/m/sub/b.o\n", "/m"), (Paths{"/m/a.ko", "/m/sub/b.ko"}));
  EXPECT_EQ(parse_modules_order("/m/a.ko\n", "/m"), (Paths{"/m/a.ko"}));
}

TEST(ModulesOrder, CountsRelativeNamesFromTheFolder) {
  EXPECT_EQ(parse_modules_order("a.o\n./b.o\n", "/m"), (Paths{"/m/a.ko", "/m/b.ko"}));
}

TEST(ModulesOrder, GivesEachModuleOnceAndSkipsWhatIsNone) {
  EXPECT_EQ(parse_modules_order("a.o\n\nREADME\na.ko\n b", "/m"), (Paths{"/m/a.ko"}));
  EXPECT_TRUE(parse_modules_order("", "/m").empty());
  EXPECT_TRUE(parse_modules_order("\n\n", "/m").empty());
}

TEST(CmdFile, GivesTheCompilersRunAndItsSource) {
  const auto step = parse_cmd(
      "savedcmd_/m/a.o := gcc -Wp,-MMD,/m/.a.o.d -O2 -c -o /m/a.o /m/a.c   \n\n"
      "source_/m/a.o := /m/a.c\n");
  ASSERT_TRUE(step);
  EXPECT_EQ(step->command, "gcc -Wp,-MMD,/m/.a.o.d -O2 -c -o /m/a.o /m/a.c");
  EXPECT_EQ(step->source, "/m/a.c");
}

TEST(CmdFile, LeavesOutWhatRunsAfterTheCompiler) {
  const auto step =
      parse_cmd("cmd_/m/a.o :=  gcc-12 -c -o /m/a.o /m/a.S   ; ./tools/objtool/objtool /m/a.o\n");
  ASSERT_TRUE(step);
  EXPECT_EQ(step->command, "gcc-12 -c -o /m/a.o /m/a.S");
  EXPECT_EQ(step->source, "/m/a.S");
}

TEST(CmdFile, UndoesTheEscapesOfMake) {
  const auto step =
      parse_cmd("savedcmd_/m/a.o := gcc -DA='\\#' -DB='$(pound)' -DC='$$x' -c -o /m/a.o /m/a.c");
  ASSERT_TRUE(step);
  EXPECT_EQ(step->command, "gcc -DA='#' -DB='#' -DC='$x' -c -o /m/a.o /m/a.c");
}

TEST(CmdFile, OfALinkOrATruncatedOneHasNoCompilersRun) {
  for (const char* text :
       {"", "\n", "savedcmd_/m/a.ko := ld -r -o /m/a.ko /m/a.o /m/a.mod.o\n", "savedcmd_/m/a.o",
        "savedcmd_/m/a.o := ", "savedcmd_/m/a.o := gcc", "savedcmd_/m/a.o := gcc -c -o /m/a.o ",
        "deps_/m/a.o := gcc -c /m/a.c\n", " := ;;;\n", "savedcmd_/m/a.o :=  ; -c x.c"}) {
    EXPECT_FALSE(parse_cmd(text)) << text;
  }
}

TEST(CmdFile, GivesTheWholeCommand) {
  EXPECT_EQ(saved_command("savedcmd_/m/a.ko :=  ld -r -o /m/a.ko /m/a.o ; true  \n"),
            "ld -r -o /m/a.ko /m/a.o ; true");
  EXPECT_EQ(saved_command("cmd_/m/a.mod := awk '!x[$$0]++'\n"), "awk '!x[$0]++'");
  for (const char* text : {"", "savedcmd_/m/a.ko := ", "source_/m/a.o := /m/a.c\n"}) {
    EXPECT_FALSE(saved_command(text)) << text;
  }
}

TEST(CmdFile, ListsWhatTheObjectDependsOn) {
  EXPECT_EQ(saved_dependencies("savedcmd_/m/a.o := gcc -c -o /m/a.o /m/a.c\n\n"
                               "source_/m/a.o := /m/a.c\n\n"
                               "deps_/m/a.o := \\\n"
                               "    $(wildcard include/config/NET) \\\n"
                               "  /k/include/linux/kconfig.h \\\n"
                               "  ./include/generated/autoconf.h \\\n\n"
                               "/m/a.o: $(deps_/m/a.o)\n"),
            (Paths{"/k/include/linux/kconfig.h", "./include/generated/autoconf.h"}));
  for (const char* text : {"", "deps_", "deps_/m/a.o := \\\n\n  x.h\n", "deps_\n   \n"}) {
    EXPECT_TRUE(saved_dependencies(text).empty()) << text;
  }
}

}  // namespace
}  // namespace lkm
