// SPDX-License-Identifier: GPL-2.0
//
// Objects that take another structure's form, in memory of the test's own. With live ones: the
// tests "…IsRenewed…" and Telex.KeepsItsSocketsWhenTheirStructureChanges of tests/modules.
#include "libos-runtime/host/reshape.hpp"

#include <array>
#include <cstring>
#include <map>

#include "tests/host/compiled_layouts.hpp"

namespace lkm {
namespace {

constexpr const char* kList = "struct list_head { struct list_head *next, *prev; };\n";

class AForm : public CompiledLayouts {
 protected:
  /// Of struct s of both sources, after a kernel's struct list_head.
  Result<Form> form(const std::string& before, const std::string& after, const std::string& inner = "struct s") {
    const auto types = [&](const std::string& source) {
      return layouts("#include <kernel.h>\n" + source + " struct s object;", "", kList);
    };
    return make_form("struct s", types(before), types(after), {"struct s", inner});
  }
  std::string refusal(const std::string& before, const std::string& after, const std::string& inner = "struct s") {
    const auto made = form(before, after, inner);
    return made ? "none" : made.error().what();
  }
};

TEST_F(AForm, CarriesMembersToTheirPlacesAndZeroesNewOnes) {
  struct Before {
    int a;
    unsigned char b;
    unsigned low : 3, high : 13;
    short gone;
    char* text;
  };
  struct After {
    char* text;
    long fresh;
    unsigned high : 13, low : 3;
    unsigned char b;
    int a;
  };
  const auto made = form(
      "struct s { int a; unsigned char b; unsigned low : 3, high : 13; short gone; char *text; };",
      "struct s { char *text; long fresh; unsigned high : 13, low : 3; unsigned char b; int a; };");
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->from_bytes, sizeof(Before));
  EXPECT_EQ(made->to_bytes, sizeof(After));
  alignas(8) std::array<std::byte, 64> object{};
  object.fill(std::byte{0xee});
  char text[] = "text";
  Before before{.a = -5, .b = 200, .low = 5, .high = 8000, .gone = 7, .text = text};
  std::memcpy(object.data(), &before, sizeof(before));
  made->apply(object.data());
  After after{};
  std::memcpy(&after, object.data(), sizeof(after));
  EXPECT_EQ(after.a, -5);
  EXPECT_EQ(after.b, 200);
  EXPECT_EQ(after.low, 5u);
  EXPECT_EQ(after.high, 8000u);
  EXPECT_EQ(after.text, text);
  EXPECT_EQ(after.fresh, 0);
  EXPECT_EQ(object[sizeof(after)], std::byte{0xee}) << "what lies behind is not its own";
  EXPECT_EQ(fmt::format("{}", fmt::join(made->remarks, "; ")),
            "struct s: 'fresh' is new, and zero; struct s: 'gone' is gone, with its value");
}

TEST_F(AForm, ConvertsIntegersWithTheirSignAndKeepsWhatTwoArraysShare) {
  const auto made = form("struct s { int below; unsigned above; short few[2]; };",
                         "struct s { long below; unsigned short above; short few[4]; };");
  ASSERT_TRUE(made) << made.error().message();
  struct After {
    long below;
    unsigned short above;
    short few[4];
  };
  alignas(8) std::array<std::byte, 64> object{};
  const struct {
    int below;
    unsigned above;
    short few[2];
  } before{-3, 70'000, {1, -2}};
  std::memcpy(object.data(), &before, sizeof(before));
  made->apply(object.data());
  After after{};
  std::memcpy(&after, object.data(), sizeof(after));
  EXPECT_EQ(after.below, -3);
  EXPECT_EQ(after.above, 70'000 % 65536);
  EXPECT_EQ(after.few[0], 1);
  EXPECT_EQ(after.few[1], -2);
  EXPECT_EQ(after.few[2], 0);
  EXPECT_EQ(made->remarks.size(), 3u);
}

TEST_F(AForm, NamesWhatCannotBe) {
  EXPECT_EQ(refusal("struct s { int a; };", "struct s { int a; struct list_head queue; };"),
            "struct s: 'queue' is new, and struct list_head has to be initialised");
  EXPECT_EQ(refusal("struct s { int a; struct list_head queue; };", "struct s { int a; };"),
            "struct s: 'queue' is gone, and others may point to struct list_head");
  EXPECT_EQ(refusal("struct s { int *a; };", "struct s { long a; };"),
            "struct s: 'a' is long int, was int *");
  EXPECT_EQ(refusal("struct s { struct list_head queue; };",
                    "struct s { long n; struct list_head queue; };"),
            "struct s: 'queue' has the address of the whole, and must stay in front");
  EXPECT_EQ(refusal("struct s { int *a; };", "struct s { long n; int *a; };"), "none");
}

TEST_F(AForm, TellsWhichMembersMove) {
  const auto made =
      form("struct s { long first; struct list_head queue; long last; };",
           "struct s { long first; long fresh[2]; struct list_head queue; long last; };");
  ASSERT_TRUE(made) << made.error().message();
  const auto moves = made->moves(nullptr);
  ASSERT_EQ(moves.size(), 2u);
  EXPECT_EQ(moves[0].at, 8u);
  EXPECT_EQ(moves[0].size, 16u);
  EXPECT_EQ(moves[0].distance, 16);
}

TEST_F(AForm, RearrangesStructuresWithinElementByElement) {
  const auto made = form(
      "struct m { int a; short gone; }; struct s { long head; struct m one, two[2]; struct { int x; } plain; };",
      "struct m { long fresh; long a; }; struct s { long head; struct m two[2]; struct { int y, x; } plain; struct m one; };",
      "struct m");
  ASSERT_TRUE(made) << made.error().message();
  struct Old {
    int a;
    short gone;
  };
  struct New {
    long fresh, a;
  };
  struct Before {
    long head;
    Old one, two[2];
    int x;
  };
  struct After {
    long head;
    New two[2];
    int y, x;
    New one;
  };
  EXPECT_EQ(made->from_bytes, sizeof(Before));
  EXPECT_EQ(made->to_bytes, sizeof(After));
  alignas(8) std::array<std::byte, 64> object{};
  const Before before{.head = 9, .one = {-1, 7}, .two = {{2, 7}, {-3, 7}}, .x = 4};
  std::memcpy(object.data(), &before, sizeof(before));
  made->apply(object.data());
  After after{};
  std::memcpy(&after, object.data(), sizeof(after));
  EXPECT_EQ(after.head, 9);
  EXPECT_EQ(after.one.a, -1);
  EXPECT_EQ(after.two[0].a, 2);
  EXPECT_EQ(after.two[1].a, -3);
  EXPECT_EQ(after.two[1].fresh, 0);
  EXPECT_EQ(after.x, 4);
  EXPECT_EQ(after.y, 0);
  EXPECT_EQ(std::ranges::count(made->remarks, "struct s: 'two[].fresh' is new, and zero"), 1) << "once for all elements";
}

TEST_F(AForm, KeepsWhatTwoArraysOfStructuresShare) {
  const std::string m = "struct m { int a; }; ", list = "struct m { int a; struct list_head l; }; ";
  const auto grown = form(m + "struct s { struct m all[2]; };", m + "struct s { struct m all[3]; };", "struct m");
  ASSERT_TRUE(grown) << grown.error().message();
  EXPECT_EQ(grown->members.size(), 2u);
  EXPECT_EQ(fmt::format("{}", fmt::join(grown->remarks, "; ")), "struct s: 'all' has 3 elements, had 2: what both have is kept");
  EXPECT_EQ(refusal(list + "struct s { struct m all[2]; };", list + "struct s { struct m all[4]; };", "struct m"),
            "struct s: 'all[].l' is new, and struct list_head has to be initialised");
  EXPECT_EQ(refusal(list + "struct s { struct m all[4]; };", list + "struct s { struct m all[2]; };", "struct m"),
            "struct s: 'all[].l' is gone, and others may point to struct list_head");
}

TEST_F(AForm, TakesPointersToAStructureWithinAlong) {
  // To `one` and to its first member leads one address. A number there is not pointed to.
  const auto made = form("struct m { int a; struct list_head l; }; struct s { long head; struct m one; };",
                         "struct m { long fresh; int a; struct list_head l; }; struct s { long head, next; struct m one; };",
                         "struct m");
  ASSERT_TRUE(made) << made.error().message();
  const auto moves = made->moves(nullptr);
  ASSERT_EQ(moves.size(), 2u);
  EXPECT_EQ(moves[0].at, 8u);
  EXPECT_EQ(moves[0].distance, 8) << "to the structure";
  EXPECT_EQ(moves[1].at, 16u);
  EXPECT_EQ(moves[1].distance, 16) << "to its list";
  EXPECT_EQ(refusal("struct m { struct list_head l; }; struct s { long head; struct m one; };",
                    "struct m { long a; struct list_head l; }; struct s { long head; struct m one; };", "struct m"),
            "struct s: 'one.l' has the address of 'one', and must stay in front");
}

TEST_F(AForm, MovesAsAWholeWithItsMembers) {
  const auto made = form("struct s { long first; struct list_head queue; long last; };",
                         "struct s { long first; long fresh[2]; struct list_head queue; long last; };");
  ASSERT_TRUE(made) << made.error().message();
  alignas(8) std::array<std::byte, 64> from{}, to{};
  const auto moves = made->moves(from.data(), to.data(), 32);
  const auto distance = to.data() - from.data();
  ASSERT_EQ(moves.size(), 3u);
  EXPECT_EQ(moves[0].size, 8u) << "what points to the object, or to its first member";
  EXPECT_EQ(moves[0].distance, distance);
  EXPECT_EQ(moves[1].distance, distance + 16);
  EXPECT_EQ(moves[2].distance, distance + 16);
  std::size_t covered = 0;
  for (const auto& range : moves) covered += range.size;
  EXPECT_EQ(covered, 32u);
}

class AReshape : public CompiledLayouts {
 protected:
  static constexpr std::uint32_t kBuild = 7;

  /// One block by each of these calls; the reasons why not, or what is said.
  std::string plan(const std::string& before, const std::string& after, std::vector<HeldBlock> held,
                   const std::map<std::uintptr_t, AllocationHints>& calls) {
    AllocationSites sites;
    for (const auto& [call, hints] : calls) sites[{kBuild, call}] = {hints, fmt::format("a.c:{}", call)};
    for (auto& block : held) block.build = kBuild;
    const auto was = layouts(before + " struct s object;"), now = layouts(after + " struct s object;");
    std::vector<std::string> reasons;
    Reshape reshape({}, held, sites, was, now, hashed_, reasons);
    if (reasons.empty() && !reshape.structures().empty()) reasons = reshape.remarks();
    return fmt::format("{}", fmt::join(reasons, "; "));
  }
  static AllocationHints result(const std::string& type, std::uint64_t bytes) {
    return {.results = {{type, bytes}}, .variables = {{type, bytes}}};
  }
  HeldBlock block(std::uintptr_t call, std::uint64_t size, std::uint64_t room) {
    return {.at = memory_.data(), .size = size, .room = room, .kind = "block", .movable = true, .place = call};
  }

  std::set<std::string> hashed_;
  alignas(8) std::array<std::byte, 64> memory_{};
};

TEST_F(AReshape, TakesBlocksWhoseTypeIsKnownWithRoomOrInANewPlace) {
  const std::string before = "struct s { long a; };", after = "struct s { long a, b; };";
  EXPECT_EQ(plan(before, after, {block(1, 8, 16)}, {{1, result("struct s", 8)}}),
            "struct s: 1 block rearranged in place; struct s: 'b' is new, and zero");
  EXPECT_EQ(plan(before, after, {block(1, 8, 8)}, {{1, result("struct s", 8)}}),
            "struct s: 1 block rearranged (1 in a new place); struct s: 'b' is new, and zero");
  EXPECT_EQ(plan(before, after, {{.place = 1}}, {{1, result("struct s", 8)}}),
            "struct s: 0 blocks rearranged in place; struct s: 'b' is new, and zero")
      << "there is none now, but the call tells where there can be one";
  EXPECT_EQ(plan(before, after, {block(1, 8, 16)}, {{1, result("struct other", 8)}}), "") << "no place for it is known";
}

TEST_F(AReshape, RefusesBlocksThatMayBeOrMayHaveAnother) {
  const std::string before = "struct s { long a; };", after = "struct s { long a, b; };";
  const auto known = std::pair(std::uintptr_t(1), result("struct s", 8));
  EXPECT_EQ(plan(before, after, {block(1, 8, 16), block(2, 24, 32)}, {known, {2, {}}}),
            "struct s has changed, and a block by a.c:2 may be one, or have some: no variable there has a type of that size");
  EXPECT_EQ(plan(before, after, {block(1, 24, 32)}, {known}),
            "struct s has 8 bytes, and a block by a.c:1 has 24: it is an array, or has something behind it");
  EXPECT_EQ(plan(before, after, {block(1, 8, 16), block(3, 8, 16)}, {known}),
            "struct s has changed, and a block by a former build may be one, or have some: the code that asked for it is gone");
  HeldBlock object = block(1, 8, 8);
  object.movable = false;
  object.kind = "object";
  EXPECT_EQ(plan(before, after, {object}, {known}), "struct s: needs 16 bytes, and each object by a.c:1 has room for 8");
}

TEST_F(AReshape, TakesWhatIsButAMemberOfItsBlocks) {
  const std::string s = " struct s { long a; struct m one, all[2]; };";
  const auto hints = std::map<std::uintptr_t, AllocationHints>{{1, result("struct s", 32)}};
  EXPECT_EQ(plan("struct m { long x; };" + s, "struct m { long x, y; };" + s, {block(1, 32, 64)}, hints),
            "struct s: 1 block rearranged in place; struct s: 'one.y' is new, and zero; struct s: 'all[].y' is new, and zero");
  EXPECT_EQ(plan("struct m { int x, y; };" + s, "struct m { int y, x; };" + s, {block(1, 32, 64)}, hints),
            "struct s: 1 block rearranged in place")
      << "of the same size, in a structure that looks the same";
  EXPECT_EQ(plan("struct n { long x; }; struct m { struct n in; };" + s, "struct n { long y, x; }; struct m { struct n in; };" + s,
                 {block(1, 32, 64)}, hints),
            "struct s: 1 block rearranged in place; struct s: 'one.in.y' is new, and zero; struct s: 'all[].in.y' is new, and zero");
}

TEST_F(AReshape, RefusesAMemberThatMayBeHashed) {
  const std::string s = " struct s { long a; struct m one; };";
  hashed_ = {"struct m", "struct s"};
  EXPECT_EQ(plan("struct m { int x, y; };" + s, "struct m { int y, x; };" + s, {block(1, 16, 64)}, {{1, result("struct s", 16)}}),
            "struct m has changed, and where the module hashes something it has one: its tables would not find it");
}

TEST_F(AReshape, RefusesWhatIsAMemberOfSomethingElseToo) {
  const std::string before = "struct m { long x; };", after = "struct m { long x, y; };";
  const std::string s = " struct s { long a; struct m one; };";
  const std::string other = " struct other { struct m its; }; struct other another;";
  const auto refusal = "struct m has changed, and struct s has one in a union: nothing tells whether it is in use there";
  const auto hints = std::map<std::uintptr_t, AllocationHints>{{1, result("struct s", 16)}};
  EXPECT_EQ(plan(before + s + other, after + s + other, {block(1, 16, 64)}, hints),
            "struct m has changed, and struct other has one in it: 'its'; struct s: 'one' is struct m, which has another size");
  const std::string in_union = " struct s { long a; union { long n; struct m one; }; };";
  EXPECT_NE(plan(before + in_union, after + in_union, {block(1, 16, 64)}, hints).find(refusal), std::string::npos);
  const std::string in_named = " struct s { long a; union { struct m *p; struct m one; } u; };";
  EXPECT_NE(plan(before + in_named, after + in_named, {block(1, 16, 64)}, hints).find(refusal), std::string::npos);
  EXPECT_EQ(plan(before + s, after + s, {block(1, 16, 64), block(2, 24, 32)}, {*hints.begin(), {2, {}}}),
            "struct m has changed, and a block by a.c:2 may be one, or have some: no variable there has a type of that size");
}

/// Sixteen words of which some point into others.
struct Memory {
  alignas(8) std::array<std::uintptr_t, 16> words{};

  [[nodiscard]] std::uintptr_t address(std::size_t word) const {
    return reinterpret_cast<std::uintptr_t>(&words[word]);
  }
  std::size_t relocate(std::size_t word, std::size_t n, std::intptr_t by) {
    Relocation relocation(
        {{.at = address(word), .size = n * sizeof(std::uintptr_t), .distance = by}});
    auto* bytes = reinterpret_cast<std::byte*>(words.data());
    relocation.over(bytes, bytes + sizeof(words));
    return relocation.corrected();
  }
};

TEST(ARelocation, CorrectsPointersToTheBeginAndTheMiddleTaggedAndInverted) {
  Memory memory;
  memory.words = {memory.address(4), memory.address(5) + 3, memory.address(4) | 1,
                  ~memory.address(5)};
  EXPECT_EQ(memory.relocate(4, 2, 24), 4u);
  EXPECT_EQ(memory.words[0], memory.address(7));
  EXPECT_EQ(memory.words[1], memory.address(8) + 3);
  EXPECT_EQ(memory.words[2], memory.address(7) | 1);
  EXPECT_EQ(memory.words[3], ~memory.address(8));
}

TEST(ARelocation, LeavesWhatTheAllocatorKeepsForItself) {
  static Memory memory;
  memory.words = {memory.address(4), memory.address(4), memory.address(4)};
  Relocation relocation({{.at = memory.address(4), .size = 8, .distance = 24}});
  relocation.leave_to([](const void* word) noexcept {
    return word == &memory.words[0] ? LIBOS_CHECK_SLAB : word == &memory.words[1] ? LIBOS_CHECK_OBJECT : LIBOS_CHECK_NONE;
  });
  auto* bytes = reinterpret_cast<std::byte*>(memory.words.data());
  relocation.over(bytes, bytes + sizeof(memory.words));
  EXPECT_EQ(memory.words[0], memory.address(4));
  EXPECT_EQ(memory.words[1], memory.address(7));
  EXPECT_EQ(memory.words[2], memory.address(7));
}

TEST(ARelocation, LeavesAllOthers) {
  Memory memory;
  memory.words = {memory.address(3) + 7, memory.address(6), 4, ~std::uintptr_t(4), 0};
  const auto before = memory.words;
  EXPECT_EQ(memory.relocate(4, 2, -16), 0u);
  EXPECT_EQ(memory.words, before);
}

}  // namespace
}  // namespace lkm
