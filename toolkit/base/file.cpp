// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/file.hpp"

#include <sys/stat.h>

#include <cstdlib>

#include "toolkit/base/defer.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm {

Result<std::string> read_file(const std::filesystem::path& path) {
  LKM_TRY(const auto fd, UniqueFd::open(path, O_RDONLY));
  std::string content;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got == 0) return content;
    if (got > 0) {
      content.append(buffer, static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      return fail(errno, "read '{}'", path.string());
    }
  }
}

Result<void> replace_file(const std::filesystem::path& path, std::string_view content,
                          mode_t mode) {
  std::string temporary = path.string() + ".tmp-XXXXXX";
  const UniqueFd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return fail(errno, "write '{}'", path.string());
  auto remove = defer([&] { ::unlink(temporary.c_str()); });
  while (!content.empty()) {
    const ssize_t put = ::write(fd.get(), content.data(), content.size());
    if (put >= 0) {
      content.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno != EINTR) {
      return fail(errno, "write '{}'", path.string());
    }
  }
  if (::fchmod(fd.get(), mode) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    return fail(errno, "write '{}'", path.string());
  }
  remove.cancel();
  return {};
}

}  // namespace lkm
