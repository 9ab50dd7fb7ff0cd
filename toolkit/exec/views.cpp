// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/views.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <optional>

#include "toolkit/exec/net_seat.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::exec {

Result<std::filesystem::path> Views::of(const std::string& netns) {
  if (netns.empty() || first_.empty()) return first_;
  LKM_TRY(const int number, stack_.netns_fd(netns));
  const StackFd fd(stack_, number);
  struct stat status {};
  if (const long error = fd.call(SYS_fstat, &status); error < 0) return fail(int(-error), "look at netns '{}'", netns);

  const std::filesystem::path place = folder_ / netns;
  auto& view = views_[netns];
  if (view.mount && view.netns == status.st_ino) return place;
  view.mount.reset();
  view.netns = status.st_ino;
  // The server's fibers get their namespaces from the one that starts it.
  std::optional<Result<std::unique_ptr<FuseProc>>> mounted;
  LKM_TRY(Fiber fiber, stack_.spawn("exec-view", [&] {
    const auto mount = [&]() -> Result<std::unique_ptr<FuseProc>> {
      LKM_CHECK(stack_.netns_enter(netns));
      LKM_CHECK(show_sys_of_netns(stack_));
      return FuseProc::mount(stack_, place, mounter_);
    };
    mounted = mount();
  }));
  fiber.join();
  if (!mounted) return fail(EIO, "mount the view of netns '{}': the kernel died", netns);
  LKM_TRY(view.mount, std::move(*mounted));
  view.mount->follow_netns(task_of_);
  return place;
}

}  // namespace lkm::exec
