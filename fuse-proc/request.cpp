// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/request.hpp"

#include <cerrno>
#include <utility>

#include "toolkit/base/assert.hpp"

namespace lkm::fuse {

namespace {

// Live values: neither names nor attributes are cached by the host kernel.
constexpr double kCacheSeconds = 0;

constexpr long kInternalErrors = 512;  // include/linux/errno.h
constexpr long kInternalNotSupported = 524;

}  // namespace

int reply_errno(long result) {
  const long error = result < 0 ? -result : 0;
  if (error == ENOSYS || error == kInternalNotSupported) return EOPNOTSUPP;
  return error < kInternalErrors ? static_cast<int>(error) : EIO;
}

Request::Request(std::shared_ptr<void> session, fuse_req_t request, Work work,
                 Interruptible interruptible)
    : session_(std::move(session)), request_(request), work_(std::move(work)) {
  if (interruptible == Interruptible::kYes) {
    // Called from fuse_session_process_buf(), and never after the answer, which frees the request.
    fuse_req_interrupt_func(
        request_, [](fuse_req_t, void* self) { static_cast<Request*>(self)->interrupt(); }, this);
  }
}

fuse_req_t Request::take() {
  LKM_ASSERT(request_ != nullptr);
  return std::exchange(request_, nullptr);
}

void Request::run() {
  if (interrupted()) {
    error(-EINTR);
  } else {
    work_(*this);
  }
  LKM_ASSERT(request_ == nullptr);
}

void Request::abandoned() {
  if (file_) file_->broken = true;
  if (request_ != nullptr) error(-EIO);
}

bool Request::error(long result) { return fuse_reply_err(take(), reply_errno(result)) == 0; }

bool Request::entry(const fuse_entry_param& entry) { return fuse_reply_entry(take(), &entry) == 0; }

bool Request::attributes(const struct stat& st) {
  return fuse_reply_attr(take(), &st, kCacheSeconds) == 0;
}

bool Request::link(const std::string& target) {
  return fuse_reply_readlink(take(), target.c_str()) == 0;
}

bool Request::opened(const fuse_file_info& info) { return fuse_reply_open(take(), &info) == 0; }

bool Request::created(const fuse_entry_param& entry, const fuse_file_info& info) {
  return fuse_reply_create(take(), &entry, &info) == 0;
}

bool Request::data(std::string_view bytes) {
  return fuse_reply_buf(take(), bytes.data(), bytes.size()) == 0;
}

bool Request::written(std::size_t bytes) { return fuse_reply_write(take(), bytes) == 0; }

bool Request::poll(unsigned events) { return fuse_reply_poll(take(), events) == 0; }

void Request::none() { fuse_reply_none(take()); }

char* Request::buffer(std::size_t size) {
  buffer_.reset(new char[size]);
  return buffer_.get();
}

}  // namespace lkm::fuse
