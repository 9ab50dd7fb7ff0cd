// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/stack_fd.hpp"

namespace lkm {

Result<StackFd> socket_in(Stack& stack, const std::string& netns, int domain, int type,
                          int protocol) {
  Result<StackFd> socket = fail(ECANCELED, "socket in netns '{}'", netns);
  LKM_TRY(Fiber maker, stack.spawn("socket", [&] {
    if (auto entered = stack.netns_enter(netns); !entered) {
      socket = Failure(std::move(entered).error());
      return;
    }
    const long fd = stack.syscall(SYS_socket, domain, type, protocol);
    if (fd < 0)
      socket = fail(static_cast<int>(-fd), "socket(family {}, type {}, protocol {}) in netns '{}'",
                    domain, type, protocol, netns);
    else
      socket = StackFd(stack, static_cast<int>(fd));
  }));
  maker.join();
  return socket;
}

}  // namespace lkm
