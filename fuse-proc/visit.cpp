// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/visit.hpp"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#include <cerrno>
#include <utility>

namespace lkm::fuse {

Visit::Visit(Stack& stack, std::string task) : stack_(stack), task_(std::move(task)) {
  own_ = int(stack_.syscall(SYS_open, "/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  const long there = stack_.syscall(SYS_open, ("/proc/" + task_ + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
  error_ = there == -ENOENT ? -ESTALE : own_ < 0 ? own_ : there;
  if (there < 0) return;
  if (error_ >= 0) error_ = stack_.syscall(SYS_setns, there, CLONE_NEWNET);
  stack_.syscall(SYS_close, there);
}

Visit::~Visit() {
  for (const auto& [path, fd] : directories_) {
    if (fd >= 0) stack_.syscall(SYS_close, fd);
  }
  if (own_ < 0) return;
  if (error_ >= 0) stack_.syscall(SYS_setns, own_, CLONE_NEWNET);
  stack_.syscall(SYS_close, own_);
}

int Visit::directory(const std::string& path) {
  const auto [at, added] = directories_.try_emplace(path, -1);
  if (added) {
    const std::string there = "/proc/" + task_ + "/root" + path;
    const long fd = stack_.syscall(SYS_open, there.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) at->second = int(fd);
  }
  return at->second;
}

}  // namespace lkm::fuse
