// SPDX-License-Identifier: GPL-2.0
//
// Views: the stack's /proc and /sys as a netns shows them, mounted on the host for its programs. /proc/net,
// /proc/sys/net and /sys/class/net depend on who looks, so each netns has a FUSE server of its own, whose fibers are
// in it; it is mounted when the first program comes, and stays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "fuse-proc/fuse_proc.hpp"
#include "libos-runtime/host/stack.hpp"

namespace lkm::exec {

class Views {
 public:
  /// Mounts go below `folder`. `first` is where the first netns is shown already; empty: none is to be mounted.
  /// `task_of` is for FuseProc::follow_netns().
  Views(Stack& stack, Mounter& mounter, std::filesystem::path folder, std::filesystem::path first,
        std::function<std::string(pid_t)> task_of)
      : stack_(stack),
        mounter_(mounter),
        folder_(std::move(folder)),
        first_(std::move(first)),
        task_of_(std::move(task_of)) {}

  [[nodiscard]] const std::filesystem::path& first() const { return first_; }
  /// The folder with `proc` and `sys` of a netns; empty when none is to be mounted. Errors: as of FuseProc::mount().
  Result<std::filesystem::path> of(const std::string& netns);

 private:
  struct View {
    std::uint64_t netns;  ///< st_ino: its name may be given to another one
    std::unique_ptr<FuseProc> mount;
  };

  Stack& stack_;
  Mounter& mounter_;
  std::filesystem::path folder_, first_;
  std::function<std::string(pid_t)> task_of_;
  std::map<std::string, View> views_;
};

}  // namespace lkm::exec
