// SPDX-License-Identifier: GPL-2.0
//
// NetSeat: a task of the stack that stays in a netns, with that one's /sys, so that what programs see of /proc and /sys can
// be what it sees (FuseProc::follow_netns()).
#pragma once

#include <memory>
#include <string>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

/// The calling fiber's /sys is that of its netns, in a mount namespace of its own. Errors: as unshare(2) and mount(2).
Result<void> show_sys_of_netns(Stack& stack);

class NetSeat {
 public:
  /// On a fiber. Errors: as setns(2), show_sys_of_netns().
  static Result<std::shared_ptr<NetSeat>> take(Stack& stack, const StackFd& netns);
  ~NetSeat();

  /// As below /proc.
  [[nodiscard]] const std::string& task() const { return task_; }

  NetSeat(const NetSeat&) = delete;
  NetSeat& operator=(const NetSeat&) = delete;

 private:
  explicit NetSeat(Stack& stack) : stack_(stack) {}
  Result<void> sit(const StackFd& netns);

  Stack& stack_;
  Fiber fiber_;
  std::shared_ptr<bool> left_ = std::make_shared<bool>(false);
  std::string task_;
};

}  // namespace lkm::exec
