// SPDX-License-Identifier: GPL-2.0
//
// Interrupt: Ctrl-C and SIGTERM as a descriptor, so that long work can end what it started.
#pragma once

#include <csignal>
#include <optional>

#include "toolkit/base/child.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::cli {

/// While one lives, SIGINT, SIGTERM and SIGHUP wait on fd() in place of ending the process.
class Interrupt {
 public:
  static Result<Interrupt> block();
  Interrupt(Interrupt&&) = default;
  Interrupt& operator=(Interrupt&&) = delete;
  ~Interrupt();

  /// Readable once a signal came.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes the signal that came; nullopt when there is none.
  std::optional<int> take();
  /// Waits until `other` has `events` of poll(2), or a signal came.
  enum class Woken { kByOther, kBySignal };
  Result<Woken> wait(int other, short events);
  /// All that a child writes to its out(). ECANCELED when a signal came: the child ends with its owner then.
  Result<std::string> read_all(const Child& child);

 private:
  Interrupt(UniqueFd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}

  UniqueFd fd_;
  sigset_t before_;
};

}  // namespace lkm::cli
