// SPDX-License-Identifier: GPL-2.0
#include "toolkit/watch/noise.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

TEST(Noise, IsNoSourceNorBuildFile) {
  for (const char* name : {"mycc.c", "mycc.h", "Kbuild", "Makefile", "Kconfig", "entry.S",
                           "table.inc", "tcp_2.c", "c", "mod.c", "README.md", "x.dts"}) {
    EXPECT_FALSE(is_noise(name)) << name;
  }
}

TEST(Noise, IsWhatEditorsKeepBesideAFile) {
  for (const char* name : {"4913", "5036", "mycc.c~", ".mycc.c.swp", ".mycc.c.swx", "#mycc.c#",
                           ".#mycc.c", ".goutputstream-AB12"}) {
    EXPECT_TRUE(is_noise(name)) << name;
  }
}

TEST(Noise, IsWhatABuildLeaves) {
  for (const char* name : {"mycc.o", "mycc.ko", "mycc.mod", "mycc.mod.c", "mycc.mod.o",
                           ".mycc.o.cmd", "Module.symvers", "modules.order", ".tmp_versions",
                           "mycc.so", "compile_commands.json", ".module-common.o"}) {
    EXPECT_TRUE(is_noise(name)) << name;
  }
}

}  // namespace
}  // namespace lkm
