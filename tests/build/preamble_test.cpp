// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/preamble.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

TEST(Preamble, IsTheDirectivesUpToTheLastIncludeBeforeTheFirstTokenOfC) {
  EXPECT_EQ(preamble_of("// SPDX-License-Identifier: GPL-2.0\n"
                        "/* a long\n * word */\n"
                        "#define pr_fmt(fmt) \"x: \" fmt\n\n"
                        "#include <linux/module.h> /* why */\n"
                        "#  include \"mycc.h\" // why\n"
                        "#define LIMIT 3\n"
                        "static int value;\n"
                        "#include <net/tcp.h>\n"),
            "#define pr_fmt(fmt) \"x: \" fmt\n#include <linux/module.h>\n#  include \"mycc.h\"\n");
}

TEST(Preamble, KeepsConditionalsWhole) {
  const std::string conditional =
      "#include <a.h>\n#if LINUX_VERSION_CODE < 7\n#include <b.h>\n#else\n#include <c.h>\n#endif\n";
  EXPECT_EQ(preamble_of(conditional + "#ifdef X\nint x;\n#endif\n"), conditional);
  EXPECT_EQ(preamble_of("#include <a.h>\n#ifdef X\n#include <b.h>\nint x;\n#endif\n"),
            "#include <a.h>\n");
}

TEST(Preamble, DoesNotChangeWithCommentsAndBlankLines) {
  const std::string plain = "#include <a.h>\n#define X 1\n#include <b.h>\n";
  EXPECT_EQ(preamble_of("/* new */\n#include <a.h>\n\n#define X /* one\n */ 1\n#include <b.h>"),
            preamble_of("#include <a.h>\n#define X   1\n#include <b.h>\n"));
  EXPECT_EQ(preamble_of(plain + "// more\nint x;"), plain);
}

TEST(Preamble, JoinsContinuedLinesAndLeavesStringsAlone) {
  EXPECT_EQ(preamble_of("#define URL \"http://x/*y*/\" \\\n  \"\\\"//\"\n#include <a.h>\nint x;"),
            "#define URL \"http://x/*y*/\"   \"\\\"//\"\n#include <a.h>\n");
}

TEST(Preamble, IsEmptyWhereNothingIsIncludedFirst) {
  for (const char* source :
       {"", "int x;\n#include <a.h>\n", "#define X\n", "/* open", "#", "\\\n", "#include"}) {
    EXPECT_EQ(preamble_of(source), source == std::string("#include") ? "#include\n" : "") << source;
  }
}

TEST(Preamble, TurnsARecordedCommandIntoOneThatUsesIt) {
  const auto commands = preamble_commands(
      "ccache gcc -Wp,-MMD,/t/.x.o.d -nostdinc -include /k/kconfig.h -include rel.h -DA='\"x\"' "
      "-g -c -o /t/x.o /t/x.c",
      "#include <a.h>\n", "/p/x.o.h", "/build");
  EXPECT_EQ(commands.compile,
            "gcc -nostdinc -include /p/x.o.h -DA='\"x\"' -g -Winvalid-pch -c -o /t/x.o /t/x.c");
  EXPECT_EQ(commands.prepare,
            "gcc -nostdinc -DA='\"x\"' -g -iquote /t -x c-header -o /p/x.o.h.gch /p/x.o.h");
  EXPECT_EQ(commands.header,
            "#include \"/k/kconfig.h\"\n#include \"/build/rel.h\"\n#include <a.h>\n");
}

}  // namespace
}  // namespace lkm
