// SPDX-License-Identifier: GPL-2.0
//
// What read_layouts() sees in small sources, and how two of them differ.
#include "tests/host/compiled_layouts.hpp"

namespace lkm {
namespace {

class ALayout : public CompiledLayouts {
 protected:
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
