// SPDX-License-Identifier: GPL-2.0
//
// `lkm-run lab sweep`: a scenario with each combination of some options, each in a process of its own.
#pragma once

#include "tools/lkm-run/arguments.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// The exit code. What is done is in DIR/runs.jsonl, from which a sweep that was interrupted, or killed, goes on.
Result<int> lab_sweep(const Arguments& arguments, Terminal& terminal);

}  // namespace lkm::cli
