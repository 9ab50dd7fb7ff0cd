// SPDX-License-Identifier: GPL-2.0
//
// The method of the control socket by which a program comes onto the stack.
//
//   exec.attach {listener, netns?} → {}
//
// `listener` is the number of a descriptor of the calling process: install_filter()'s. The stack takes a copy
// of it, by the same right by which it will look into the program's memory: whoever passes here can be served.
#pragma once

#include "toolkit/control/server.hpp"

namespace lkm::exec {

/// The server keeps the programs; it must be destroyed on a fiber then.
void add_methods(control::Server& server, Stack& stack);

}  // namespace lkm::exec
