// SPDX-License-Identifier: GPL-2.0
//
// Handle: one open(2) of the host, and the descriptor of the stack behind it. Each has its own,
// since seq_file and a file's event counter live in the open file: that is what makes a file read
// in small pieces one consistent view, and poll(2) on an attribute work.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fuse-proc/directory.hpp"
#include "fuse-proc/worker_pool.hpp"

struct fuse_pollhandle;

namespace lkm::fuse {

class PollWatch;

struct Handle {
  int fd = -1;    // of the stack
  int flags = 0;  // O_* as they are set on fd
  bool seekable = false;
  /// The kernel died in this file once. It may hold a lock of it for ever, so nobody goes in again.
  bool broken = false;

  // -- files
  std::shared_ptr<PollWatch> watch;
  /// What the watch saw and no poll of the host has been told yet. Some files tell an event to one
  /// poll only (proc_sys_poll(), mounts_poll()), and it was the watch's.
  unsigned signalled = 0;

  // -- directories: entries that were read from the stack and not yet by the host
  std::uint64_t device = 0;
  std::vector<DirectoryEntry> entries;
  std::size_t delivered = 0;  // of `entries`
  off_t position = 0;         // the offset at which they go on
};

/// Waits in the stack for a file to become ready, and tells the host kernel, which then asks anew.
class PollWatch final : public Job {
 public:
  /// Takes over `notify`. `session` is kept alive while it is in use.
  PollWatch(Stack& stack, std::shared_ptr<void> session, std::shared_ptr<Handle> file,
            unsigned events, fuse_pollhandle* notify);
  ~PollWatch() override;

  [[nodiscard]] unsigned events() const { return events_; }
  [[nodiscard]] bool done() const { return file_ == nullptr; }

 private:
  void run() override;
  void abandoned() override { file_.reset(); }

  Stack& stack_;
  std::shared_ptr<void> session_;
  std::shared_ptr<Handle> file_;  // until it is done: the file holds us too
  unsigned events_;
  fuse_pollhandle* notify_;
};

}  // namespace lkm::fuse
