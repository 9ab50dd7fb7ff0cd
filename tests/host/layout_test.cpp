// SPDX-License-Identifier: GPL-2.0
//
// What read_layouts() sees in small sources that the test compiles, in the folders of a kernel and
// of a module.
#include "libos-runtime/host/layout.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

class ALayout : public ::testing::Test {
 protected:
  /// Compiles `source` as module/src/a.c, and b.c with it, in image/build; module/include/own.h and
  /// image/src/include/kernel.h can be included.
  Layouts layouts(const std::string& source, const std::string& own = "",
                  const std::string& kernel = "", const std::string& second = "") {
    auto scratch = TempDir::make();
    EXPECT_TRUE(scratch);
    const fs::path top = scratch->path();
    for (const char* folder : {"module/src", "module/include", "image/build", "image/src/include"})
      fs::create_directories(top / folder);
    EXPECT_TRUE(replace_file(top / "module/src/a.c", source));
    EXPECT_TRUE(replace_file(top / "module/src/b.c", second));
    EXPECT_TRUE(replace_file(top / "module/include/own.h", own));
    EXPECT_TRUE(replace_file(top / "image/src/include/kernel.h", kernel));
    const std::string command = fmt::format(
        "cd '{0}/image/build' && cc -g -shared -fPIC -I'{0}/image/src/include' "
        "-I'{0}/module/include' "
        "-o out.so '{0}/module/src/a.c' '{0}/module/src/b.c'",
        top.string());
    EXPECT_EQ(std::system(command.c_str()), 0);
    const auto file = read_file(top / "image/build/out.so");
    EXPECT_TRUE(file);
    auto read = read_layouts(std::as_bytes(std::span(*file)), "out.so");
    EXPECT_TRUE(read) << read.error().message();
    return read.value_or(Layouts());
  }
  static std::string differences(const Layouts& before, const Layouts& after) {
    return fmt::format("{}", fmt::join(layout_differences(before, after), "; "));
  }
};

TEST_F(ALayout, OfAStructureWithoutANameIsKnownByItsTypedef) {
  const auto before = layouts("typedef struct { int a; } thing_t; thing_t thing;");
  EXPECT_EQ(differences(before, before), "");
  EXPECT_EQ(differences(before, layouts("typedef struct { int b, a; } thing_t; thing_t thing;")),
            "thing_t: 'a' is at byte 4, was at byte 0; thing_t: 'b' is new");
  const auto mode = layouts("typedef enum { kOff, kOn } mode_t; mode_t mode;");
  EXPECT_EQ(differences(mode, layouts("typedef enum { kOff, kOn, kNew } mode_t; mode_t mode;")),
            "");
  EXPECT_EQ(differences(mode, layouts("typedef enum { kOn, kOff } mode_t; mode_t mode;")),
            "mode_t: 'kOff' is 1, was 0; mode_t: 'kOn' is 0, was 1");
}

TEST_F(ALayout, OfTheModulesHeadersIsReadWhereverTheyAre) {
  const std::string source =
      "#include <own.h>\n#include <kernel.h>\nstruct own own; struct kernel kernel;";
  const auto before = layouts(source, "struct own { int a; };", "struct kernel { int a; };");
  EXPECT_EQ(
      differences(before, layouts(source, "struct own { long a; };", "struct kernel { long a; };")),
      "struct own: 'a' is long int, was int");
}

TEST_F(ALayout, OfTwoTypesOfOneNameIsComparedForBoth) {
  const std::string a = "struct entry { int a; }; struct entry first;";
  const auto before = layouts(a, "", "", "struct entry { long b; }; struct entry second;");
  EXPECT_EQ(differences(before, before), "");
  EXPECT_EQ(
      differences(before, layouts(a, "", "", "struct entry { long c, b; }; struct entry second;")),
      "struct entry: 'b' is at byte 8, was at byte 0; struct entry: 'c' is new");
  EXPECT_EQ(differences(before, layouts(a)), "") << "no object of the other is used any more";
}

}  // namespace
}  // namespace lkm
