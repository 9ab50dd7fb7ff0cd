// SPDX-License-Identifier: GPL-2.0
//
// The kernel log of the stack, record by record, by /dev/kmsg (kernel: Documentation/ABI/testing/dev-kmsg).
// Each reader has its own place in it, unlike with /proc/kmsg.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/control/protocol.hpp"
#include "toolkit/net/stack_fd.hpp"

namespace lkm::control {

struct LogRecord {
  unsigned level = 6;  ///< 0 emergency … 7 debug, as in syslog(2)
  std::uint64_t sequence = 0;
  std::chrono::microseconds at{};  ///< stack time since boot
  std::string text;                ///< may hold newlines
};

/// Reads one record as /dev/kmsg gives it. Errors: EBADMSG.
Result<LogRecord> parse_log_record(std::string_view record);

/// {"level":6,"sequence":12,"at_us":1234,"text":"…"}
Json to_json(const LogRecord& record);

/// A place in the log. Only on a fiber.
class KernelLog {
 public:
  enum class From { kOldest, kNow };
  /// Errors: as open(2) of /dev/kmsg.
  static Result<KernelLog> open(Stack& stack, From from);

  /// The records up to now, without waiting.
  Result<std::vector<LogRecord>> read_available();
  /// The next record; waits for it. Errors: EINTR when the fiber is interrupted.
  Result<LogRecord> wait_next();

 private:
  explicit KernelLog(StackFd fd) : fd_(std::move(fd)) {}
  Result<std::optional<LogRecord>> read_one();

  StackFd fd_;  // non-blocking
};

}  // namespace lkm::control
