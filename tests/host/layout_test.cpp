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

TEST_F(ALayout, TellsWhichVariablesAreStructuresAndWhichStructuresMayBeHashed) {
  auto scratch = TempDir::make();
  ASSERT_TRUE(scratch);
  const auto source = scratch->path() / "a.c", out = scratch->path() / "a.so";
  ASSERT_TRUE(replace_file(source, R"(
unsigned my_siphash(const void *at, unsigned long n);
struct key { int port; }; struct other { int n; }; struct list { struct list *next; };
struct key keys[4]; static struct other one; int plain; struct list *head;
static inline unsigned jhash2(const unsigned *at) { return at[0] * 7; }
unsigned hash_of(const struct key *key) { static struct list within; if (within.next == head) return 1; within.next = head; return jhash2((void *)key) + one.n++; }
unsigned on_the_stack(int n) { struct list what = { head }; return my_siphash(&what, sizeof(what)); }
int not_hashed(struct other *other) { return other->n; }
)"));
  ASSERT_EQ(std::system(fmt::format("cc -g -O2 -shared -fPIC -o '{}' '{}'", out.string(), source.string()).c_str()), 0);
  const auto file = read_file(out);
  ASSERT_TRUE(file);
  const auto bytes = std::as_bytes(std::span(*file));
  const auto variables = read_variables(bytes, "a.so");
  ASSERT_TRUE(variables) << variables.error().message();
  EXPECT_EQ(variables->at("keys"), "struct key");
  EXPECT_EQ(variables->at("one"), "struct other");
  EXPECT_EQ(variables->at("within"), "struct list");
  EXPECT_FALSE(variables->contains("head"));
  const auto hashed = hashed_structures(bytes, "a.so");
  ASSERT_TRUE(hashed) << hashed.error().message();
  EXPECT_TRUE(hashed->contains("struct key"));
  EXPECT_TRUE(hashed->contains("struct list"));
  EXPECT_FALSE(hashed->contains("struct other"));
}

}  // namespace
}  // namespace lkm
