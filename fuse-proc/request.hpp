// SPDX-License-Identifier: GPL-2.0
//
// Request: one request of the host kernel, answered exactly once, whatever happens to the worker.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fuse-proc/handle.hpp"
#include "fuse-proc/libfuse.hpp"
#include "fuse-proc/visit.hpp"
#include "fuse-proc/worker_pool.hpp"

namespace lkm::fuse {

/// A result of a system call of the stack as FUSE may carry it: the positive errno. Two kinds
/// cannot pass unchanged. The host kernel takes ENOSYS for "never ask me this again" (fs/fuse/), so
/// it becomes EOPNOTSUPP; kernel-internal codes (512 and above, such as ENOTSUPP) would make it
/// refuse the answer, and leave the caller waiting: EOPNOTSUPP for ENOTSUPP, else EIO.
int reply_errno(long result);

/// Whether a signal to the caller may end the request. Those that never wait for an event are not
/// asked: a shell would see EINTR from a stat(2) when its child ends.
enum class Interruptible { kNo, kYes };

class Request final : public Job {
 public:
  using Work = std::function<void(Request&)>;

  /// `session` is kept alive until the answer is given.
  Request(std::shared_ptr<void> session, fuse_req_t request, Work work,
          Interruptible interruptible);

  // The answers. False when the caller has gone meanwhile: what the answer handed over is not
  // taken.
  bool error(long result);
  bool done() { return error(0); }
  bool entry(const fuse_entry_param& entry);
  bool attributes(const struct stat& st);
  bool link(const std::string& target);
  bool opened(const fuse_file_info& info);
  bool created(const fuse_entry_param& entry, const fuse_file_info& info);
  bool data(std::string_view bytes);
  bool written(std::size_t bytes);
  bool poll(unsigned events);
  void none();

  /// Names the file in which the work goes on, so that an oops there marks it broken.
  void works_in(std::shared_ptr<Handle> file) { file_ = std::move(file); }
  /// Where the work is done, while it is; nullptr: in the mount's own netns.
  void visits(Visit* visit) { visit_ = visit; }
  [[nodiscard]] Visit* visit() const { return visit_; }
  /// Memory for `size` bytes that lives as long as the request.
  char* buffer(std::size_t size);

 private:
  void run() override;
  void abandoned() override;
  fuse_req_t take();

  std::shared_ptr<void> session_;
  fuse_req_t request_;
  Work work_;
  std::shared_ptr<Handle> file_;
  Visit* visit_ = nullptr;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace lkm::fuse
