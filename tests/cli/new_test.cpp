// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "tools/lkm-run/module_template.hpp"

namespace lkm::cli {
namespace {
namespace fs = std::filesystem;

TEST(NewModule, HasItsNameInEveryPlace) {
  const auto dir = TempDir::make().value();
  const fs::path folder = dir.path() / "mycc";
  ASSERT_TRUE(write_cc_module(folder, "mycc"));
  EXPECT_EQ(read_file(folder / "Kbuild").value(), "# SPDX-License-Identifier: GPL-2.0\nobj-m := mycc.o\n");
  const std::string source = read_file(folder / "mycc.c").value();
  EXPECT_NE(source.find(".name = \"mycc\""), std::string::npos);
  EXPECT_NE(source.find("MODULE_ALIAS(\"tcp_mycc\")"), std::string::npos);
  EXPECT_NE(read_file(folder / "tests" / "mycc_test.cpp").value().find("{\"mycc\"}"), std::string::npos);
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(read_file(entry.path())->find("__name__"), std::string::npos) << entry.path();
  }
}

TEST(NewModule, NeverOverwrites) {
  const auto dir = TempDir::make().value();
  const fs::path folder = dir.path() / "mycc";
  fs::create_directory(folder);
  ASSERT_TRUE(replace_file(folder / "mycc.c", "mine"));
  const auto written = write_cc_module(folder, "mycc");
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().errno_value(), EEXIST);
  EXPECT_EQ(read_file(folder / "mycc.c").value(), "mine");
}

TEST(NewModule, RefusesNamesThatAreNoneInC) {
  for (const char* name : {"", "9cc", "my-cc", "my.cc", "my cc", "../x", "int", "while", "cubic",
                           "abcdefghijklmnop", "m\xc3\xbc"}) {
    EXPECT_FALSE(check_module_name(name)) << name;
  }
  for (const char* name : {"mycc", "_x", "Cc2", "abcdefghijklmno"}) {
    EXPECT_TRUE(check_module_name(name)) << name;
  }
}

// The template must be right as it is written: built as a distribution module where headers are.
TEST(NewModule, CompilesWithoutAWarning) {
  fs::path headers;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/lib/modules", ignored)) {
    if (fs::exists(entry.path() / "build" / "Makefile", ignored)) headers = entry.path() / "build";
  }
  if (headers.empty()) GTEST_SKIP() << "no kernel headers: apt-get install linux-headers-amd64";
  const auto dir = TempDir::make().value();
  ASSERT_TRUE(write_cc_module(dir.path() / "mycc", "mycc"));
  auto make = Child::spawn({.argv = {"make", "-C", dir.path() / "mycc", "KDIR=" + headers.string(), "KCFLAGS=-Werror"},
                            .out = Child::Output::kPipe,
                            .err = Child::Output::kWithOut});
  ASSERT_TRUE(make);
  const std::string output = make->read_all().value();
  EXPECT_TRUE(make->wait()->success()) << output;
  EXPECT_TRUE(fs::exists(dir.path() / "mycc" / "mycc.ko"));
}

}  // namespace
}  // namespace lkm::cli
