// SPDX-License-Identifier: GPL-2.0
//
// SourceLines in a shared object that the test compiles, and in a module that a stack runs.
#include "libos-runtime/host/source_line.hpp"

#include <dlfcn.h>

#include <cstdlib>

#include "tests/host/host_test.hpp"
#include "toolkit/base/file.hpp"

namespace lkm {
namespace {

constexpr std::string_view kSource = R"(int ask(int);
static inline __attribute__((always_inline)) int inner(int n)
{
	return ask(n) + 1;
}
int outer(int n)
{
	int sum = inner(n);
	return sum * 2;
}
)";

class ASourceLine : public ::testing::Test {
 protected:
  void SetUp() override {
    auto scratch = TempDir::make();
    ASSERT_TRUE(scratch);
    scratch_ = std::move(*scratch);
  }
  /// Compiles kSource, and gives the frames of the call of ask() in outer().
  std::vector<SourceLine> frames_of_the_call(const std::string& flags) {
    const auto top = scratch_->path();
    EXPECT_TRUE(replace_file(top / "probe.c", kSource));
    const std::string command =
        fmt::format("cc {} -O2 -shared -fPIC -Wl,-z,undefs -o '{}/probe.so' '{}/probe.c'", flags, top.string(), top.string());
    EXPECT_EQ(std::system(command.c_str()), 0);
    file_ = read_file(top / "probe.so").value();
    auto lines = SourceLines::open(std::as_bytes(std::span(file_)), "probe.so");
    EXPECT_TRUE(lines) << lines.error().message();
    // The call is somewhere in outer(), whose address the dynamic linker tells.
    void* handle = ::dlopen((top / "probe.so").c_str(), RTLD_LAZY);
    EXPECT_NE(handle, nullptr) << ::dlerror();
    Dl_info info{};
    EXPECT_NE(::dladdr(::dlsym(handle, "outer"), &info), 0);
    const auto outer = std::uintptr_t(info.dli_saddr) - std::uintptr_t(info.dli_fbase);
    ::dlclose(handle);
    for (auto at = outer; at < outer + 64; ++at) {
      auto frames = lines->at(at);
      if (frames.empty() || frames.back().function != "outer") break;
      if (frames.size() == 2 || frames.front().line == 0) return frames;
    }
    return {};
  }

  std::string file_;

 private:
  std::optional<TempDir> scratch_;
};

TEST_F(ASourceLine, NamesWhatWasInlinedAndWhereItWasPut) {
  const auto frames = frames_of_the_call("-g");
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].function, "inner");
  EXPECT_EQ(frames[0].place(), "probe.c:4");
  EXPECT_EQ(frames[1].function, "outer");
  EXPECT_EQ(frames[1].place(), "probe.c:8");
}

TEST_F(ASourceLine, IsAFunctionAndAnOffsetWithoutDebugInformation) {
  const auto frames = frames_of_the_call("-g0");
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].function, "outer");
  EXPECT_EQ(frames[0].place(), "outer+0x0");
}

TEST_F(ASourceLine, IsNoneOutsideOfTheCode) {
  frames_of_the_call("-g");
  const auto lines = SourceLines::open(std::as_bytes(std::span(file_)), "probe.so");
  EXPECT_TRUE(lines->at(0).empty());
  EXPECT_TRUE(lines->at(UINTPTR_MAX).empty());
  EXPECT_FALSE(SourceLines::open(std::as_bytes(std::span(file_)).first(3), "probe.so"));
}

class AStack : public HostTest {};

TEST_F(AStack, KnowsTheSourceLinesOfItsModules) {
  run([this](Stack& stack) {
    const auto file = plugin("ticker", 1);
    ASSERT_TRUE(stack.load(file));
    const auto symbols = stack.read_file("/proc/kallsyms").value();
    const auto line = symbols.rfind('\n', symbols.find(" tick\t[ticker]"));
    ASSERT_NE(line, std::string::npos);
    const auto address = std::strtoull(symbols.c_str() + line + 1, nullptr, 16);
    const auto frames = stack.source_lines(address);
    ASSERT_FALSE(frames.empty());
    EXPECT_EQ(frames.back().function, "tick");
    EXPECT_TRUE(frames.back().file.ends_with("/ticker.c")) << frames.back().file;
    EXPECT_GT(frames.back().line, 10);
    EXPECT_TRUE(stack.source_lines(0).empty());
    EXPECT_TRUE(stack.unload("ticker"));
    EXPECT_TRUE(stack.source_lines(address).empty());
  });
}

}  // namespace
}  // namespace lkm
