// SPDX-License-Identifier: GPL-2.0
//
// A run in a child process. A process can have one stack, so this is how one that makes several runs does it; and what
// brings the stack down does not bring down its caller.
#pragma once

#include "toolkit/lab/run.hpp"

namespace lkm::lab {

/// As run(), in a fork of this process, which must have no stack and no other threads. RunOptions::plugins_of is called in
/// the child, RunOptions::console here, with the whole log, when the child has ended; there is no progress. Errors: as
/// run(); ECHILD when the child dies.
Result<RunResult> run_in_child(const Scenario& scenario, const RunOptions& options);

}  // namespace lkm::lab
