// SPDX-License-Identifier: GPL-2.0
//
// A run in a child process. A process can have one stack, so this is how one that makes several runs does it; and what
// brings the stack down does not bring down its caller.
#pragma once

#include <sys/types.h>

#include <utility>

#include "toolkit/base/unique_fd.hpp"
#include "toolkit/lab/run.hpp"

namespace lkm::lab {

/// A run that goes on beside its caller; several can.
class ChildRun {
 public:
  /// Forks this process, which must have no stack and no other threads. RunOptions::plugins_of is called in the child.
  static Result<ChildRun> start(const Scenario& scenario, const RunOptions& options);
  ChildRun(ChildRun&& other) noexcept
      : title_(std::move(other.title_)), in_(std::move(other.in_)), child_(std::exchange(other.child_, -1)) {}
  ChildRun& operator=(ChildRun&&) = delete;
  /// Ends it, if it still runs.
  ~ChildRun();

  /// Waits for its end; once. `console` gets the kernel's whole log. Errors: as run(); ECHILD when the child died.
  Result<RunResult> finish(const std::function<void(std::string_view)>& console = {});

 private:
  ChildRun(std::string title, UniqueFd in, pid_t child) : title_(std::move(title)), in_(std::move(in)), child_(child) {}
  int reap();

  std::string title_;
  UniqueFd in_;
  pid_t child_;
};

/// The two in one, with RunOptions::console; there is no progress.
Result<RunResult> run_in_child(const Scenario& scenario, const RunOptions& options);

}  // namespace lkm::lab
