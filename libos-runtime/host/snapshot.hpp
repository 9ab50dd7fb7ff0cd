// SPDX-License-Identifier: GPL-2.0
//
// Snapshot: a copy of the stack as it is now, to go on in when it dies. It is a fork(2) of the process, which
// waits. Both ends of every connection within the stack are in it, so they are consistent in it; to what is
// outside (a device, a client), the time between the snapshot and the death has not been.
//
// When the stack dies, its process closes what it has open and stays as the parent that waits for the copy, so
// whoever waits for the process sees the end of the stack and its exit status, as if nothing had been.
//
// For a process of one thread: a stack of Stack::run().
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

class Snapshot {
 public:
  enum class Side { kOriginal, kCopy };

  Snapshot() = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot() { drop(); }

  /// Returns twice: kOriginal at once, and kCopy in the copy when resume() is called. A snapshot taken before is
  /// dropped. Errors: as fork(2).
  Result<Side> take();
  /// The copy ends. From any context of the original.
  void drop();
  [[nodiscard]] bool there() const { return child_ != 0; }
  /// In the original, also from a signal handler: the copy goes on, and this process is no stack any more. `log` is
  /// what its kernel has said since; of a long one only the end is told. It died at `died_ns` of CLOCK_MONOTONIC.
  [[noreturn]] void resume(std::string_view why, std::string_view log, std::uint64_t died_ns);
  /// In the copy: what resume() was told.
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] const std::string& log() const { return log_; }
  [[nodiscard]] std::uint64_t died_ns() const { return died_ns_; }

 private:
  pid_t child_ = 0;
  UniqueFd pipe_;  ///< to the copy; its end means that the original needs it no more
  std::string why_;
  std::string log_;
  std::uint64_t died_ns_ = 0;
};

}  // namespace lkm
