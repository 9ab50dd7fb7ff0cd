// SPDX-License-Identifier: GPL-2.0
//
// What a call allocates, read from debug information of small sources that are compiled as modules are. With blocks that
// are live: ARenewal.RearrangesWhatTheModuleHasAllocatedAndMovesWhatHasNoRoom.
#include "libos-runtime/host/allocations.hpp"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

class AnAllocation : public ::testing::Test {
 protected:
  /// Compiles `body` as function f() behind some declarations, and reads the hints of its only call of get().
  AllocationHints of(const std::string& body) {
    auto scratch = TempDir::make();
    EXPECT_TRUE(scratch);
    const auto source = scratch->path() / "a.c", out = scratch->path() / "a.so";
    EXPECT_TRUE(replace_file(source, R"(
void *get(unsigned long size), *other(void *);
struct small { long a; };
struct flow { struct flow *next; long a, b; };
struct inner { long x; struct flow *flow; };
struct table { long n; struct inner inner; struct small *small; };
static struct flow *first;
struct flow *take(void) { return first; }
)" + body));
    const auto command = fmt::format("cc -g -O2 -fPIC -fno-plt -fno-optimize-sibling-calls -fno-omit-frame-pointer "
                                     "-shared -Wl,--emit-relocs -o '{}' '{}'", out.string(), source.string());
    EXPECT_EQ(std::system(command.c_str()), 0);
    file_ = read_file(out).value_or("");
    const auto bytes = std::as_bytes(std::span(file_));
    const auto found = read_allocations(bytes, "a.so", {call_of("get", bytes)});
    EXPECT_TRUE(found) << found.error().message();
    return found && !found->empty() ? found->begin()->second : AllocationHints();
  }
  /// "struct flow", or why not.
  std::string type(const std::string& body, std::uint64_t bytes) {
    const auto answer = of(body).type_of(bytes);
    return answer.type.empty() ? answer.why : answer.type;
  }

 private:
  static std::uintptr_t call_of(const std::string& name, std::span<const std::byte> file) {
    const auto read = [&]<typename T>(std::size_t at, T& value) { std::memcpy(&value, file.data() + at, sizeof(T)); };
    Elf64_Ehdr header;
    read(0, header);
    for (unsigned i = 0; i < header.e_shnum; ++i) {
      Elf64_Shdr section, symbols, strings;
      read(header.e_shoff + i * sizeof(section), section);
      if (section.sh_type != SHT_RELA) continue;
      read(header.e_shoff + section.sh_link * sizeof(symbols), symbols);
      read(header.e_shoff + symbols.sh_link * sizeof(strings), strings);
      for (std::size_t at = 0; at < section.sh_size; at += sizeof(Elf64_Rela)) {
        Elf64_Rela entry;
        Elf64_Sym symbol;
        read(section.sh_offset + at, entry);
        if (ELF64_R_TYPE(entry.r_info) != R_X86_64_GOTPCRELX) continue;
        read(symbols.sh_offset + ELF64_R_SYM(entry.r_info) * sizeof(symbol), symbol);
        const auto* text = reinterpret_cast<const char*>(file.data()) + strings.sh_offset + symbol.st_name;
        if (text == name) return entry.r_offset + 3;
      }
    }
    ADD_FAILURE() << "no call of " << name;
    return 0;
  }

  std::string file_;
};

TEST_F(AnAllocation, IsOfTheVariableThatTheResultIsAssignedTo) {
  EXPECT_EQ(type("long f(struct table *t) { struct flow *made = get(24); if (!made) return 1;"
                 " made->a = t->n; made->next = first; first = made; return 0; }", 24), "struct flow");
  EXPECT_EQ(type("static inline struct flow *make(void) { struct flow *made = get(24); if (made) made->a = 1;"
                 " return made; } void f(void) { first = make(); }", 24), "struct flow");
}

TEST_F(AnAllocation, IsOfTheMemberOrTheVariableThatTheInstructionBehindTheCallSets) {
  EXPECT_EQ(type("int f(struct table *t) { t->inner.flow = get(24); return !t->inner.flow; }", 24), "struct flow");
  EXPECT_EQ(type("int f(struct table *t) { t->small = get(8); return !t->small; }", 8), "struct small");
  EXPECT_EQ(type("int f(struct table *t) { first = get(24); return !first; }", 24), "struct flow");
}

TEST_F(AnAllocation, OfAnArrayHasTheTypeOfItsElements) {
  const auto hints = of("int f(void) { struct flow *all = get(240); if (!all) return 1; all[9].a = 3; first = all; return 0; }");
  EXPECT_EQ(hints.type_of(240).type, "struct flow");
}

TEST_F(AnAllocation, ThatNoTypeIsAssignedToCannotBeTold) {
  EXPECT_EQ(type("void *f(struct flow *flow) { void *made = get(flow->a); return other(made); }", 24),
            "nothing says what its result is");
  EXPECT_EQ(type("void *f(void) { void *made = get(99); return other(made); }", 99),
            "no variable there has a type of that size");
  EXPECT_TRUE(of("void *f(struct flow *flow) { return other(get(flow->a)); }").knows("struct flow"));
}

TEST(APacketStructure, IsWhatAFunctionGivesOfAPacket) {
  auto scratch = TempDir::make();
  ASSERT_TRUE(scratch);
  const auto source = scratch->path() / "a.c", out = scratch->path() / "a.so";
  ASSERT_TRUE(replace_file(source, "struct sk_buff { char cb[48]; }; struct mark { long at; }; struct flow { long at; };\n"
                                   "struct mark *mark_of(struct sk_buff *skb) { return (void *)skb->cb; }\n"
                                   "struct flow *flow_of(long key) { return 0; }\n"));
  ASSERT_EQ(std::system(fmt::format("cc -g -shared -fPIC -o '{}' '{}'", out.string(), source.string()).c_str()), 0);
  const auto file = read_file(out);
  ASSERT_TRUE(file);
  const auto found = packet_structures(std::as_bytes(std::span(*file)), "a.so");
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, std::vector<std::string>{"struct mark"});
}

}  // namespace
}  // namespace lkm
