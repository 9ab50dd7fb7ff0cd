// SPDX-License-Identifier: GPL-2.0
//
// What is no plugin, or none for this kernel, is refused with a text that says why, and the stack
// goes on.
#include "tests/host/host_test.hpp"
#include "toolkit/base/file.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

class ABadPlugin : public HostTest {
 protected:
  [[nodiscard]] std::string in_tree(const std::string& name) const {
    return (options_.module_path.front() / (name + ".so")).string();
  }
};

/// Nothing of a refused module stays.
void expect_untouched(Stack& stack) {
  EXPECT_TRUE(stack.modules().value().empty());
  expect_serves(stack);
}

TEST_F(ABadPlugin, ForAnotherKernelIsRefused) {
  run([this](Stack& stack) {
    const auto release = "vermagic=" + stack.release();
    auto other = release;
    other.back() = other.back() == '9' ? '8' : '9';
    expect_refused(stack.load(patched(in_tree("tcp_vegas"), release, other)), ENOEXEC,
                   {"tcp_vegas.so", "built for kernel", stack.release(), "lkm-run build"});
    expect_untouched(stack);
  });
}

TEST_F(ABadPlugin, WithAMissingSymbolIsRefusedByItsName) {
  const auto faulty = plugin("faulty");
  const auto dependent = plugin("dependent");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    expect_refused(stack.load(patched(dependent, "faulty_answer", "absent_answer")), ENOEXEC,
                   {"dependent", "absent_answer", "build"});
    ASSERT_TRUE(stack.unload("faulty"));
    expect_untouched(stack);
  });
}

TEST_F(ABadPlugin, CutShortAnywhereIsRefused) {
  run([this](Stack& stack) {
    const auto whole = read_file(in_tree("tcp_vegas")).value();
    for (std::size_t size = 0; size < whole.size(); size = size < 128 ? size + 1 : size + 997) {
      const auto path = written("cut.so", std::string_view(whole).substr(0, size));
      const auto loaded = stack.load(path);
      ASSERT_FALSE(loaded) << size;
      ASSERT_NE(loaded.error().what().find("cut.so"), std::string::npos)
          << loaded.error().message();
      ASSERT_FALSE(loaded.error().hint().empty() && loaded.error().errno_value() == ENOEXEC)
          << size;
    }
    expect_untouched(stack);
  });
}

TEST_F(ABadPlugin, ThatIsNoneIsRefused) {
  run([this](Stack& stack) {
    expect_refused(stack.load(written("text.so", "hello, world\n")), ENOEXEC,
                   {"text.so", "not an ELF file", "lkm-run build"});
    std::string noise(10'000, '\0');
    std::uint32_t random = 1;
    for (auto& byte : noise) byte = char((random = random * 1664525 + 1013904223) >> 24);
    expect_refused(stack.load(written("noise.so", noise)), ENOEXEC, {"noise.so"});
    expect_refused(stack.load("/usr/lib/x86_64-linux-gnu/libm.so.6"), ENOEXEC,
                   {"libm.so.6", "no kernel module"});
    expect_refused(stack.load("/nonexistent/mycc.so"), ENOENT, {"/nonexistent/mycc.so"});
    expect_refused(stack.load("/tmp/"), EINVAL, {"/tmp/"});
    expect_refused(stack.load("nonesuch"), ENOENT, {"nonesuch", "HINT"});
    expect_untouched(stack);
  });
}

TEST_F(ABadPlugin, ThatIsAnObjectFileIsRefusedWithTheWayToLinkIt) {
  const auto faulty = fs::path(plugin("faulty"));
  run([&](Stack& stack) {
    std::string object = read_file(faulty).value();
    object[16] = 1;  // e_type: ET_REL
    expect_refused(stack.load(written("faulty.ko", object)), ENOEXEC,
                   {"faulty.ko", "object file", "Kbuild/plugin"});
    expect_untouched(stack);
  });
}

TEST_F(ABadPlugin, ThatIsProprietaryGetsNoGplSymbols) {
  const auto faulty = plugin("faulty");
  const auto dependent = plugin("dependent");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    expect_refused(stack.load(patched(dependent, std::string_view("license=GPL\0", 12),
                                      std::string_view("license=own\0", 12))),
                   ENOENT, {"dependent", "faulty_answer", "GPL"});
    ASSERT_TRUE(stack.unload("faulty"));
    expect_untouched(stack);
  });
}

TEST_F(ABadPlugin, WhoseInitFailsLeavesNothing) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    expect_refused(stack.load(faulty, "init_error=-22"), EINVAL, {"faulty", "init"});
    expect_refused(stack.load(faulty, "init_error=-12"), ENOMEM, {"faulty"});
    expect_untouched(stack);
    EXPECT_TRUE(stack.load(faulty));
  });
}

TEST_F(ABadPlugin, WhoseInitDiesIsLeftAsideAndMayBeLoadedAgain) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    expect_refused(stack.load(faulty, "init_oops=1"), EFAULT,
                   {"faulty", "oops in its init", "lkm-run log"});
    expect_serves(stack);
    const auto dead = stack.modules().value();
    ASSERT_EQ(dead.size(), 1u);
    EXPECT_EQ(dead[0].state, "zombie");
    const auto again = stack.load(faulty);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(stack.unload("faulty"));
    expect_serves(stack);
  });
}

TEST_F(ABadPlugin, IsOneThatIsLoadedAlready) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    expect_refused(stack.load(faulty), EEXIST, {"faulty", "lkm-run swap"});
    ASSERT_TRUE(stack.load("tcp-vegas"));
    expect_refused(stack.load("tcp_vegas"), EEXIST, {"tcp_vegas", "lkm-run swap"});
    EXPECT_EQ(stack.modules().value().size(), 2u);
    expect_serves(stack);
  });
}

TEST_F(ABadPlugin, IsNotUnloadedWhenUnknownOrInUse) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    expect_refused(stack.unload("nonesuch"), ENOENT, {"nonesuch", "lkm-run ls"});
    ASSERT_TRUE(stack.load(faulty));
    ASSERT_TRUE(stack.write_file("/sys/module/faulty/parameters/trigger", "get"));
    expect_refused(stack.unload("faulty"), EBUSY, {"faulty", "1 reference"});
    ASSERT_TRUE(stack.write_file("/sys/module/faulty/parameters/trigger", "put"));
    EXPECT_TRUE(stack.unload("faulty"));
    expect_untouched(stack);
  });
}

}  // namespace
}  // namespace lkm
