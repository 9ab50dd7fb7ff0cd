// SPDX-License-Identifier: GPL-2.0
//
// StackFd: owner of a descriptor of the *stack* (UniqueFd owns one of the host). It closes by a
// system call of the stack, so it must be destroyed on a fiber.
#pragma once

#include <sys/syscall.h>

#include <string>
#include <utility>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"

namespace lkm {

class StackFd {
 public:
  StackFd() = default;
  StackFd(Stack& stack, int fd) : stack_(&stack), fd_(fd) {}
  StackFd(StackFd&& other) noexcept : stack_(other.stack_), fd_(std::exchange(other.fd_, -1)) {}
  StackFd& operator=(StackFd&& other) noexcept {
    if (this != &other) {
      reset();
      stack_ = other.stack_;
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  StackFd(const StackFd&) = delete;
  StackFd& operator=(const StackFd&) = delete;
  ~StackFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] Stack& stack() const { return *stack_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset() {
    if (fd_ >= 0) stack_->syscall(SYS_close, std::exchange(fd_, -1));
  }

  /// A system call on this descriptor: the result or -errno.
  template <typename... Args>
  long call(long number, Args... args) const {
    return stack_->syscall(number, fd_, args...);
  }
  /// setsockopt() of a plain value. -errno or 0.
  template <typename T>
  long set_option(int level, int option, const T& value) const {
    return call(SYS_setsockopt, level, option, &value, sizeof value);
  }

 private:
  Stack* stack_ = nullptr;
  int fd_ = -1;
};

/// A socket in the named netns ("" is the first one), whatever netns the calling fiber is in. It is
/// made on a short-lived fiber, so the caller never changes its namespace, not even on an error.
/// SOCK_CLOEXEC is not needed: nothing in the stack calls exec.
Result<StackFd> socket_in(Stack& stack, const std::string& netns, int domain, int type,
                          int protocol = 0);

}  // namespace lkm
