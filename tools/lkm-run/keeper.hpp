// SPDX-License-Identifier: GPL-2.0
//
// Keeper: the process beside a stack's that keeps the rights which that gives up (confinement.hpp).
//
// `lkm-run up` forks: the child becomes the stack, this process stays. It mounts and unmounts for the stack, passes
// signals on to it, starts it again when it died, and ends as it ends. For a device with an uplink it starts a process
// that has sockets on the host's network. It reads nothing of the network's, and of the stack only which folder is to be
// mounted on: one below the stack's own.
//
// A stack that goes on from a snapshot has the same keeper.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>

#include "fuse-proc/mounter.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/net/uplink.hpp"

namespace lkm::cli {

class Keeper final : public Mounter {
 public:
  /// Forks, and returns in the child: the stack's way to its keeper. The keeper itself leaves by exit(3), with the
  /// child's status, or, if that asked for it, by `start_again`, which executes a program. Mounts are made below
  /// `folder` only. Errors: as fork(2).
  static Result<std::unique_ptr<Keeper>> begin(std::filesystem::path folder, const std::function<void()>& start_again);

  Result<UniqueFd> mount(const std::filesystem::path& mountpoint) override;
  Result<void> unmount(const std::filesystem::path& mountpoint) override;
  /// Starts an Uplink in a process of its own, which ends when nobody has the descriptor any more.
  Result<UniqueFd> uplink(Reach reach);
  /// The stack is up: the keeper's stdout and stderr go to the log, as nobody listens any more.
  void leave_terminal();
  /// Ends this process; the keeper starts another.
  [[noreturn]] void start_again();

 private:
  explicit Keeper(UniqueFd channel) : channel_(std::move(channel)) {}
  Result<UniqueFd> ask(char what, const std::filesystem::path& path);

  UniqueFd channel_;
};

}  // namespace lkm::cli
