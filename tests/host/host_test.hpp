// SPDX-License-Identifier: GPL-2.0
//
// HostTest: a test of the runtime in a freshly booted stack. A process can have one stack, so each
// test runs in a process of its own (as ctest does it); when that dies, the test has failed.
//
// ThreadSanitizer does not know that fibers change threads, so it is of no use for the embedded
// mode: its tests are built to meet the races instead, in many short rounds with a deadline.
//
// The library comes from $LKM_RUN_IMAGE (what Kbuild/kernel prints); without it the tests are
// skipped.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {

class HostTest : public ::testing::Test {
 protected:
  void SetUp() override;

  /// Runs `body` on the main fiber of a stack, and gives back how the stack ended.
  Result<int> try_run(const std::function<void(Stack&)>& body);
  /// The same; the test fails when the stack does not end well.
  void run(const std::function<void(Stack&)>& body);
  /// Runs `body` beside a stack of the embedded mode.
  void embed(const std::function<void(Stack&)>& body);

  /// Builds the module of modules/*/ in this folder, with `#define VARIANT n` if it is not 0, and
  /// gives the plugin's path. Variants are builds of one module. Work is kept for the next test.
  static std::string plugin(const std::string& name, int variant = 0);
  /// A copy of a file in which the bytes `from` are `to`; both have one length.
  std::string patched(const std::string& file, std::string_view from, std::string_view to);
  /// A file with that content.
  std::string written(const std::string& name, std::string_view content);

  Stack::Options options_;  ///< of the image
  std::string log_;         ///< the kernel's, so far

 private:
  std::optional<TempDir> scratch_;
};

/// Sends and verifies some data over loopback TCP: the stack serves.
void expect_serves(Stack& stack, const std::string& control = "");

/// A bulk flow over loopback that goes on until it is stopped; nullptr, and the test fails, when it does not start.
std::shared_ptr<Flow> start_flow(Stack& stack, const std::string& control,
                                 const std::string& netns = "");
/// Stops it: every byte must have arrived, by that control.
void expect_intact(Stack& stack, Flow& flow, const std::string& control);

/// The line of /proc/modules for `name`, or "".
std::string module_line(Stack& stack, const std::string& name);

/// The error's text and hint; fails the test when there is none, or when one of the parts is
/// missing.
template <typename T>
void expect_refused(const Result<T>& result, int err, const std::vector<std::string>& parts) {
  ASSERT_FALSE(result) << "it was accepted";
  EXPECT_EQ(result.error().errno_value(), err) << result.error().message();
  const std::string text = result.error().what() + " HINT " + result.error().hint();
  for (const auto& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
}

}  // namespace lkm
