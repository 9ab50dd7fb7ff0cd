// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/folded_output.hpp"

#include <gtest/gtest.h>

namespace lkm::cli {
namespace {

TEST(FoldedOutput, IsTheFirstErrorWithItsSourceLines) {
  const auto folded = fold(
      "mycc.c: In function 'ca_init':\n"
      "mycc.c:30:7: warning: unused variable 'x' [-Wunused-variable]\n"
      "   30 |   int x;\n"
      "      |       ^\n"
      "mycc.c:32:23: error: expected ';' before '}' token\n"
      "   32 |         ca->losses = 0\n"
      "      |                       ^\n"
      "      |                       ;\n"
      "mycc.c:40:1: error: 'no_such' undeclared\n"
      "   40 | no_such = 1;\n");
  EXPECT_EQ(folded.shown,
            "mycc.c:32:23: error: expected ';' before '}' token\n"
            "   32 |         ca->losses = 0\n"
            "      |                       ^\n"
            "      |                       ;");
  EXPECT_EQ(folded.hidden, 6U);
}

TEST(FoldedOutput, KnowsTheLinkersAndModpostsErrors) {
  EXPECT_EQ(fold("WARNING: modpost: x\nERROR: modpost: \"a\" [mycc.ko] undefined!\nmake: *** [modpost] Error 1\n").shown,
            "ERROR: modpost: \"a\" [mycc.ko] undefined!");
  EXPECT_EQ(fold("mycc.o: in function `f':\nmycc.c:3: undefined reference to `g'\n").shown,
            "mycc.c:3: undefined reference to `g'");
}

TEST(FoldedOutput, TakesTheFirstWarningOrLineWhereThereIsNoError) {
  EXPECT_EQ(fold("note\nmycc.c:1:1: warning: w\n").shown, "mycc.c:1:1: warning: w");
  const auto line = fold("one\ntwo");
  EXPECT_EQ(line.shown, "one");
  EXPECT_EQ(line.hidden, 1U);
  EXPECT_EQ(fold("only\n").hidden, 0U);
  EXPECT_EQ(fold("").shown, "");
}

TEST(LastLines, AreAsManyAsAskedForOrAll) {
  EXPECT_EQ(last_lines("a\nb\nc\n", 2), "b\nc");
  EXPECT_EQ(last_lines("a\nb\nc", 3), "a\nb\nc");
  EXPECT_EQ(last_lines("a\nb\n", 10), "a\nb");
  EXPECT_EQ(last_lines("\na\n", 1), "a");
  EXPECT_EQ(last_lines("\na\n", 2), "\na");
  EXPECT_EQ(last_lines("", 1), "");
}

}  // namespace
}  // namespace lkm::cli
