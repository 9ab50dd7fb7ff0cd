// SPDX-License-Identifier: GPL-2.0
//
// defer: runs at the end of the scope, for what has no owner type of its own.
//
//   auto unmount = defer([&] { ::umount2(path, MNT_DETACH); });
#pragma once

#include <cerrno>
#include <utility>

namespace lkm {

template <typename Function>
class [[nodiscard]] Deferred {
 public:
  explicit Deferred(Function function) : function_(std::move(function)) {}
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred() {
    const int saved = errno;
    if (armed_) function_();
    errno = saved;
  }

  /// What was to be undone is to stay.
  void cancel() { armed_ = false; }

 private:
  Function function_;
  bool armed_ = true;
};

/// Runs `function` (which must not throw) when the returned object leaves its scope; errno
/// survives.
template <typename Function>
Deferred<Function> defer(Function function) {
  return Deferred<Function>(std::move(function));
}

}  // namespace lkm
