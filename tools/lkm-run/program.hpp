// SPDX-License-Identifier: GPL-2.0
//
// How this process becomes a program on a stack.
#pragma once

#include <string>
#include <vector>

#include "tools/lkm-run/arguments.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// Puts this process onto the stack that --name means, in the netns that --netns means, and executes the command,
/// which has the same process, terminal, signals and folder then, and the same environment but for $LKM_RUN_STACK,
/// which names the stack and the netns ("default", "default/client"). Returns only when that fails:
/// 127 when there is no such command, 126 when it cannot be executed; errors before that as of the stack.
Result<int> become_program(const Arguments& arguments, Terminal& terminal, std::vector<std::string> command);

/// Executes the command with a stack of its own inside of it, by preloading (toolkit/embed). As become_program().
Result<int> embed_in_program(const Arguments& arguments, Terminal& terminal, std::vector<std::string> command);

}  // namespace lkm::cli
