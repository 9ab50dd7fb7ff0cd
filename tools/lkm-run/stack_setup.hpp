// SPDX-License-Identifier: GPL-2.0
//
// What a stack file asks for, done to a running stack.
#pragma once

#include <vector>

#include "toolkit/control/client.hpp"
#include "toolkit/control/stack_file.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

/// "link add client server --rate 100mbit" and the like: what the command is by hand.
std::string by_hand(const control::Command& command);

/// Modules that are folders are built first, all of them, so that one that does not build leaves the stack as it is. Errors:
/// those of the requests, with the place in the file; is_build_failure() of a module.
Result<void> set_up(const std::vector<control::Command>& commands, const control::StateFolder& folder,
                    control::Client& client, Terminal& terminal);

}  // namespace lkm::cli
