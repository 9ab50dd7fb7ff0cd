// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/console_log.hpp"

#include <cstdio>

namespace lkm::cli {

Result<ConsoleLog> ConsoleLog::open(const std::filesystem::path& path) {
  ConsoleLog log(path);
  LKM_CHECK(log.begin());
  return log;
}

Result<void> ConsoleLog::begin() {
  const std::string old = path_.string() + ".old";
  if (::rename(path_.c_str(), old.c_str()) != 0 && errno != ENOENT) {
    return fail(errno, "rename '{}'", path_.string());
  }
  LKM_TRY(fd_, UniqueFd::open(path_, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600));
  written_ = 0;
  return {};
}

// A log that cannot be written is no reason to stop a stack: errors are dropped.
void ConsoleLog::write(std::string_view text) {
  if (written_ > kLimit) (void)begin();
  written_ += text.size();
  while (!text.empty()) {
    const ssize_t done = ::write(fd_.get(), text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(done));
  }
}

}  // namespace lkm::cli
