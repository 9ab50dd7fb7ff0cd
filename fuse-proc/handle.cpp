// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/handle.hpp"

#include <poll.h>
#include <sys/syscall.h>

#include <utility>

#include "fuse-proc/libfuse.hpp"

namespace lkm::fuse {

PollWatch::PollWatch(Stack& stack, std::shared_ptr<void> session, std::shared_ptr<Handle> file,
                     unsigned events, fuse_pollhandle* notify)
    : stack_(stack),
      session_(std::move(session)),
      file_(std::move(file)),
      events_(events),
      notify_(notify) {}

PollWatch::~PollWatch() { fuse_pollhandle_destroy(notify_); }

void PollWatch::run() {
  struct pollfd wanted = {file_->fd, static_cast<short>(events_), 0};
  const long ready = interrupted() ? 0 : stack_.syscall(SYS_poll, &wanted, 1, -1);
  if (ready > 0) {
    file_->signalled |= static_cast<unsigned short>(wanted.revents);
    fuse_lowlevel_notify_poll(notify_);
  }
  file_.reset();
}

}  // namespace lkm::fuse
