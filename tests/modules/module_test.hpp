// SPDX-License-Identifier: GPL-2.0
//
// ModuleTest: a test whose body runs on a fiber of a freshly booted stack, with a module of
// modules/ built and ready to be loaded.
//
// The kernel comes from $LKM_RUN_IMAGE (what Kbuild/kernel prints); without it the test is skipped.
// A kernel log with a warning, a BUG or an oops fails the test.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "libos-runtime/host/stack.hpp"

namespace lkm {

class ModuleTest : public ::testing::Test {
 protected:
  /// Builds the module without a warning, boots a stack in virtual time, and runs `body` there with
  /// the plugin's path.
  void with(const std::string& module,
            const std::function<void(Stack&, const std::string& plugin)>& body);
};

}  // namespace lkm
