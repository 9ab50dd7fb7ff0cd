// SPDX-License-Identifier: GPL-2.0
//
// The method of the control socket by which a program comes onto the stack.
//
//   exec.attach {listener, netns?} → {view}
//
// `listener` is the number of a descriptor of the calling process: install_filter()'s. The stack takes a copy
// of it, by the same right by which it will look into the program's memory: whoever passes here can be served.
// `view` is the folder with proc and sys of the netns (views.hpp), "" without one.
#pragma once

#include <filesystem>

#include "toolkit/control/server.hpp"

namespace lkm::exec {

/// The server keeps the programs, and the views, which are mounted below `views`; it must be destroyed on a fiber
/// then. `mount` is where the stack's /proc and /sys are, empty without; then there are no views.
void add_methods(control::Server& server, Stack& stack, const std::filesystem::path& views,
                 const std::filesystem::path& mount);

}  // namespace lkm::exec
