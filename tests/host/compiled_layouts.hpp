// SPDX-License-Identifier: GPL-2.0
//
// What read_layouts() sees in small sources that a test compiles, in the folders of a kernel and of
// a module.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "libos-runtime/host/layout.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"

namespace lkm {

class CompiledLayouts : public ::testing::Test {
 protected:
  /// Compiles `source` as module/src/a.c, and b.c with it, in image/build; module/include/own.h and
  /// image/src/include/kernel.h can be included.
  Layouts layouts(const std::string& source, const std::string& own = "",
                  const std::string& kernel = "", const std::string& second = "") {
    auto scratch = TempDir::make();
    EXPECT_TRUE(scratch);
    namespace fs = std::filesystem;
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
};

}  // namespace lkm
