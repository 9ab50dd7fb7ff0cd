// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/handle.hpp"

#include <poll.h>
#include <sys/syscall.h>

#include <utility>

#include "fuse-proc/libfuse.hpp"

namespace lkm::fuse {

PollWatch::PollWatch(Stack& stack, std::shared_ptr<void> session, int fd, unsigned events,
                     fuse_pollhandle* notify)
    : stack_(stack), session_(std::move(session)), fd_(fd), events_(events), notify_(notify) {}

PollWatch::~PollWatch() { fuse_pollhandle_destroy(notify_); }

void PollWatch::run() {
  struct pollfd file = {fd_, static_cast<short>(events_), 0};
  const long ready = interrupted() ? 0 : stack_.syscall(SYS_poll, &file, 1, -1);
  done_ = true;
  if (ready > 0) fuse_lowlevel_notify_poll(notify_);
}

}  // namespace lkm::fuse
