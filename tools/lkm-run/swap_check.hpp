// SPDX-License-Identifier: GPL-2.0
//
// SwapCheck: the command of `watch --exec`, while it judges a generation.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "toolkit/base/child.hpp"

namespace lkm::cli {

/// Dropped before its end, it is killed with all that it started: no verdict.
class SwapCheck {
 public:
  /// Runs `command` by sh -c, with stdin from /dev/null. Errors: as Child::spawn().
  static Result<SwapCheck> start(const std::string& command,
                                 const std::map<std::string, std::optional<std::string>>& environment);

  /// Readable when there is something to read().
  [[nodiscard]] int output_fd() const { return open_ ? child_.out().get() : -1; }
  /// Readable when the command has ended.
  [[nodiscard]] int end_fd() const { return child_.pidfd(); }
  /// Takes some of what it has written.
  void read();

  struct Ended {
    ExitStatus status;
    std::chrono::nanoseconds took{};
    std::string output;  ///< stdout and stderr, the last 64 KiB
  };
  /// Once end_fd() is readable. What it left running in the background goes on.
  Result<Ended> end();

 private:
  explicit SwapCheck(Child child) : child_(std::move(child)) {}

  Child child_;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
  std::string output_;
  bool open_ = true;
};

}  // namespace lkm::cli
