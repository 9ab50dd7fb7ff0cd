// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/methods.hpp"

#include <sys/syscall.h>

#include <cerrno>
#include <memory>

#include "toolkit/exec/programs.hpp"
#include "toolkit/exec/views.hpp"

namespace lkm::exec {

using control::Call;
using control::Json;

void add_methods(control::Server& server, Stack& stack, const ViewsOptions& views, const Limits& most) {
  // The fibers of programs come with the first one.
  auto programs = std::make_shared<std::unique_ptr<Programs>>();
  // For a thread that has entered another netns.
  const auto task_of = [known = std::weak_ptr(programs)](pid_t tid) -> std::string {
    const auto all = known.lock();
    return all && *all ? (*all)->seat_of_thread(tid) : "";
  };
  if (views.mount != nullptr) views.mount->follow_netns(task_of);
  auto shown = std::make_shared<Views>(stack, views.mounter, views.folder, views.first, task_of);
  const auto netns_folder = views.folder.parent_path() / "netns";
  server.add("exec.attach", [programs, shown, most, netns_folder, &stack](Call& call) -> Result<Json> {
    LKM_TRY(const auto listener, control::integer_param(call.params(), "listener", -1));
    LKM_TRY(const auto netns, control::string_param(call.params(), "netns", ""));
    LKM_TRY(const auto wanted, control::string_param(call.params(), "limits", ""));
    LKM_TRY(const Limits limits, Limits::parse(wanted, most));
    LKM_CHECK(limits.within(most));
    if (stack.options().clock == Clock::kVirtual) {
      return fail_hint(EOPNOTSUPP, "lkm-run up --time real",
                       "run programs, whose time is real, on a stack in virtual time");
    }
    LKM_TRY(const pid_t pid, call.peer());
    const UniqueFd process(int(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process) return fail(errno, "open process {}", pid);
    UniqueFd copy(int(::syscall(SYS_pidfd_getfd, process.get(), int(listener), 0)));
    if (!copy) {
      return fail_hint(errno, "cat /proc/sys/kernel/yama/ptrace_scope; it must be 0, or the stack be root's",
                       "look into process {}", pid);
    }
    if (!*programs) {
      LKM_TRY(*programs, Programs::start(stack, netns_folder));
      (*programs)->has_views(!shown->first().empty());
    }
    (*programs)->name_netns();
    LKM_CHECK((*programs)->attach(std::move(copy), netns, limits));
    // A program can do without.
    const auto view = shown->of(netns);
    return Json{{"view", view ? view->string() : ""}, {"netns", netns_folder.string()}};
  });
}

}  // namespace lkm::exec
