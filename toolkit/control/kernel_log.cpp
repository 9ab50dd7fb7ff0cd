// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/kernel_log.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <array>
#include <charconv>
#include <utility>

namespace lkm::control {
namespace {

// Takes a decimal number and the character behind it off the front of `text`.
template <typename T>
bool take_number(std::string_view& text, char end, T& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto length = static_cast<std::size_t>(stop - text.data());
  if (error != std::errc() || length == text.size() || text[length] != end) return false;
  text.remove_prefix(length + 1);
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The kernel writes bytes that are not printable as \xhh (kernel/printk/printk.c, append_char()).
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("\\x") && i + 3 < text.size() && hex_digit(text[i + 2]) >= 0 &&
        hex_digit(text[i + 3]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3]));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

// "6,339,5140900,-;text\n KEY=value\n": priority (facility * 8 + level), sequence, µs, flags; text;
// then lines that name a device, which are of no use here.
Result<LogRecord> parse_log_record(std::string_view record) {
  LogRecord parsed;
  unsigned priority = 0;
  std::int64_t at_us = 0;
  if (!take_number(record, ',', priority) || !take_number(record, ',', parsed.sequence) ||
      !take_number(record, ',', at_us)) {
    return fail(EBADMSG, "a log record without its numbers");
  }
  const std::size_t text = record.find(';');
  if (text == std::string_view::npos) return fail(EBADMSG, "a log record without text");
  parsed.level = priority & 7;
  parsed.at = std::chrono::microseconds(at_us);
  record.remove_prefix(text + 1);
  parsed.text = unescape(record.substr(0, record.find('\n')));
  return parsed;
}

Json to_json(const LogRecord& record) {
  return {{"level", record.level},
          {"sequence", record.sequence},
          {"at_us", record.at.count()},
          {"text", record.text}};
}

Result<KernelLog> KernelLog::open(Stack& stack, From from) {
  // The stack has no /dev of its own. Character device 1:11 is kmsg (Documentation/admin-guide/devices.txt).
  stack.syscall(SYS_mkdirat, AT_FDCWD, "/dev", 0755);
  stack.syscall(SYS_mknodat, AT_FDCWD, "/dev/kmsg", S_IFCHR | 0600, makedev(1, 11));
  const long fd = stack.syscall(SYS_openat, AT_FDCWD, "/dev/kmsg", O_RDONLY | O_NONBLOCK, 0);
  if (fd < 0) return fail(static_cast<int>(-fd), "open '/dev/kmsg' of the stack");
  KernelLog log(StackFd(stack, static_cast<int>(fd)));
  if (from == From::kNow) {
    const long place = log.fd_.call(SYS_lseek, 0, SEEK_END);
    if (place < 0) return fail(static_cast<int>(-place), "go to the end of the kernel log");
  }
  return log;
}

Result<std::optional<LogRecord>> KernelLog::read_one() {
  std::array<char, 8192> record;  // larger than PRINTK_MESSAGE_MAX of the kernel
  for (;;) {
    const long got = fd_.call(SYS_read, record.data(), record.size());
    if (got == -EAGAIN) return std::nullopt;
    if (got == -EPIPE) continue;  // records were overwritten before we read them; the next one is fine
    if (got < 0) return fail(static_cast<int>(-got), "read the kernel log");
    return parse_log_record({record.data(), static_cast<std::size_t>(got)});
  }
}

Result<std::vector<LogRecord>> KernelLog::read_available() {
  std::vector<LogRecord> records;
  for (;;) {
    LKM_TRY(auto record, read_one());
    if (!record) return records;
    records.push_back(std::move(*record));
  }
}

Result<LogRecord> KernelLog::wait_next() {
  for (;;) {
    LKM_TRY(auto record, read_one());
    if (record) return std::move(*record);
    pollfd wanted{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    const long ready = Stack::current().syscall(SYS_poll, &wanted, 1, -1);
    if (ready < 0) return fail(static_cast<int>(-ready), "wait for the kernel log");
  }
}

}  // namespace lkm::control
