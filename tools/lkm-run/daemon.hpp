// SPDX-License-Identifier: GPL-2.0
//
// The stack process: what `lkm-run up` starts.
#pragma once

#include <functional>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/control/state_folder.hpp"
#include "toolkit/exec/limits.hpp"
#include "tools/lkm-run/keeper.hpp"
#include "tools/lkm-run/terminal.hpp"

namespace lkm::cli {

struct DaemonOptions {
  control::StateFolder folder;
  std::filesystem::path image;
  std::size_t memory = 0;
  Clock clock = Clock::kReal;
  bool fuse = true;
  exec::Limits program_limits;
  bool echo_log = false;  ///< the kernel log on stderr too
  /// Such a stack died: it is made again as the folder's record has it.
  bool again = false;
};

/// Runs a stack in this process until a client says `down` or a signal comes; `ready` is called once
/// it can be used, with what the method "about" tells. Returns the signal that ended it. From the first request on this
/// process has only the rights that it needs (confinement.hpp). When the stack dies, and there is no snapshot to go on
/// in, its keeper starts it again.
/// Errors: EBUSY when a stack of the name is up; what Stack::run(), the mount and confine() say.
Result<int> run_daemon(const DaemonOptions& options, Keeper& keeper, const std::function<void(const Json&)>& ready);

}  // namespace lkm::cli
