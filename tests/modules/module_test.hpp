// SPDX-License-Identifier: GPL-2.0
//
// ModuleTest: a test whose body runs on a fiber of a freshly booted stack, with a module of
// modules/ built and ready to be loaded.
//
// The kernel comes from $LKM_RUN_IMAGE (what Kbuild/kernel prints); without it the test is skipped.
// A kernel log with a warning, a BUG, an oops or a leak of a module that went fails the test.
//
// Swaps under load have a test for each kind of module, "…Renewed…": the module is built again from
// sources that the test has edited.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"

namespace lkm {

/// A text in a module's sources, and what stands there instead. It must be there just once.
struct Edit {
  std::string file, from, to;
};

class ModuleTest : public ::testing::Test {
 protected:
  /// Builds the module without a warning, boots a stack, and runs `body` there with the plugin's
  /// path.
  void with(const std::string& module,
            const std::function<void(Stack&, const std::string& plugin)>& body,
            Clock clock = Clock::kVirtual);
  /// Boots a stack and runs `body` there. A swap reads builds on another thread: meanwhile virtual
  /// time goes as far as the stack's work lets it.
  void boot(const std::function<void(Stack&)>& body, Clock clock = Clock::kVirtual);

  /// Builds the module with these edits, without a warning; the plugin's path, or "" and the test
  /// has failed.
  static std::string edited(const std::string& module, const std::vector<Edit>& edits);
  /// The same of a module of one file of the kernel that the image was built from:
  /// "net/sched/sch_fq.c". `module` if it is called otherwise.
  static std::string in_tree(const std::string& file, const std::vector<Edit>& edits,
                             const std::string& module = "");
};

/// Swaps while all goes on: the module must be renewed in place, and its old builds must not pile
/// up in memory. A few stay for a while, for stale words that nobody uses any more point into them.
void expect_renewed(Stack& stack, const std::string& plugin);
/// The same of a build with another structure, which objects are rearranged for: the report says so
/// in this line.
void expect_rearranged(Stack& stack, const std::string& plugin, const std::string& line);
/// Swaps to a build that does not go with the objects that exist: refused with this reason, while
/// they hold the module.
void expect_refused_in_place(Stack& stack, const std::string& plugin, const std::string& reason);

/// Unloads the module, once the sockets that are still closing have left it.
void expect_unloads(Stack& stack, const std::string& name);

}  // namespace lkm
