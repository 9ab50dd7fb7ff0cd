// SPDX-License-Identifier: GPL-2.0
//
// The method of the control socket by which a program comes onto the stack.
//
//   exec.attach {listener, netns?, limits?} → {view, netns}
//
// `listener` is the number of a descriptor of the calling process: install_filter()'s. The stack takes a copy
// of it, by the same right by which it will look into the program's memory: whoever passes here can be served.
// `limits` is a text for Limits::parse().
// `netns` is a folder with files named as all netns.
// `view` is the folder with proc and sys of the netns (views.hpp), "" without one.
#pragma once

#include <filesystem>

#include "fuse-proc/fuse_proc.hpp"
#include "fuse-proc/mounter.hpp"
#include "toolkit/control/server.hpp"
#include "toolkit/exec/limits.hpp"

namespace lkm::exec {

/// Where the views of the netns are (views.hpp).
struct ViewsOptions {
  std::filesystem::path folder;  ///< they are mounted below it
  std::filesystem::path first;   ///< where the stack's /proc and /sys are; empty: there are no views
  Mounter& mounter;              ///< must outlive the server
  FuseProc* mount;               ///< that of `first`; null without one
};

/// `most` is what each program may have of the stack, and does if it does not ask for less.
/// The server keeps the programs and the views; it must be destroyed on a fiber then.
void add_methods(control::Server& server, Stack& stack, const ViewsOptions& views, const Limits& most);

}  // namespace lkm::exec
