// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/net_seat.hpp"

#include <linux/sched.h>
#include <sys/syscall.h>

#include <optional>

namespace lkm::exec {

Result<void> show_sys_of_netns(Stack& stack) {
  long error = stack.syscall(SYS_unshare, CLONE_NEWNS);
  // sysfs shows the devices of the netns in which it was mounted.
  if (error == 0) error = stack.syscall(SYS_mount, "sysfs", "/sys", "sysfs", 0, nullptr);
  if (error < 0) return fail(int(-error), "mount /sys of a netns");
  return {};
}

Result<void> NetSeat::sit(const StackFd& netns) {
  if (const long error = netns.call(SYS_setns, CLONE_NEWNET); error < 0) return fail(int(-error), "enter a netns");
  LKM_CHECK(show_sys_of_netns(stack_));
  task_ = fmt::format("{}/task/{}", stack_.syscall(SYS_getpid), stack_.syscall(SYS_gettid));
  return {};
}

Result<std::shared_ptr<NetSeat>> NetSeat::take(Stack& stack, const StackFd& netns) {
  const std::shared_ptr<NetSeat> seat(new NetSeat(stack));
  std::optional<Result<void>> sits;
  LKM_TRY(seat->fiber_, stack.spawn("exec-netns", [&stack, &netns, &sits, at = seat.get(), left = seat->left_] {
    sits = at->sit(netns);
    while (!*left) stack.park();
  }));
  while (!sits && !seat->fiber_.done()) stack.yield();
  if (!sits) return fail(EIO, "enter a netns: the kernel died");
  LKM_CHECK(std::move(*sits));
  return seat;
}

NetSeat::~NetSeat() {
  *left_ = true;
  fiber_.unpark();
}

}  // namespace lkm::exec
