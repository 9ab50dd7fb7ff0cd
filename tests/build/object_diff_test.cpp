// SPDX-License-Identifier: GPL-2.0
#include "toolkit/build/object_diff.hpp"

#include <gtest/gtest.h>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {
namespace {

class ObjectDifferences : public testing::Test {
 protected:
  std::filesystem::path compile(const std::string& name, const std::string& source,
                                const std::string& options = "-O1") {
    const auto path = dir_.path() / name;
    EXPECT_TRUE(replace_file(path.native() + ".c", source));
    auto compiler = Child::spawn(
        {.argv = {"sh", "-c",
                  fmt::format("gcc {} -c -o {}.o {}.c", options, path.native(), path.native())}});
    EXPECT_TRUE(compiler->wait()->success());
    return path.native() + ".o";
  }

  TempDir dir_ = std::move(*TempDir::make());
  const std::string source_ =
      "int other(int);\nstatic int value = 1;\nint one(int x) { return other(x) + value++; }\n";
};

using Names = std::vector<std::string>;

TEST_F(ObjectDifferences, AreNoneForTheSameCode) {
  const auto a = compile("a", source_);
  EXPECT_EQ(*object_differences(a, a), Names{});
  // Comments and debug information are not what runs.
  EXPECT_EQ(*object_differences(a, compile("b", "/* more */\n\n" + source_, "-O1 -g")), Names{});
}

TEST_F(ObjectDifferences, NameWhatDiffers) {
  const auto a = compile("a", source_);
  const auto differs = [&](const std::string& from, const std::string& to) {
    std::string text = source_;
    text.replace(text.find(from), from.size(), to);
    return *object_differences(a, compile("b", text));
  };
  EXPECT_EQ(differs("value = 1", "value = 2"), Names{"section .data"});
  EXPECT_EQ(differs("value++", "value--"), Names{"section .text"});
  const Names renamed = differs("int one", "int two");
  EXPECT_EQ(renamed, (Names{"symbol one", "symbol two"}));
  std::string text = source_;
  while (text.find("other") != std::string::npos) text.replace(text.find("other"), 5, "anoth");
  EXPECT_EQ(*object_differences(a, compile("b", text)),
            (Names{"relocations of .text", "symbol other", "symbol anoth"}));
}

TEST_F(ObjectDifferences, RefuseWhatIsNoObject) {
  const auto a = compile("a", source_);
  EXPECT_EQ(object_differences(a, dir_.path() / "missing").error().errno_value(), ENOENT);
  EXPECT_EQ(object_differences(dir_.path() / "a.c", a).error().errno_value(), ENOEXEC);
}

}  // namespace
}  // namespace lkm
