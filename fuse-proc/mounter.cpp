// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/mounter.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "fuse-proc/server.hpp"
#include "fuse-proc/stale_mount.hpp"
#include "toolkit/base/defer.hpp"
#include "toolkit/base/log.hpp"

namespace lkm {
namespace {

std::string& last_complaint() {
  static std::string text;
  return text;
}

void keep_complaint(fuse_log_level, const char* format, va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof(text), format, arguments);
  last_complaint() = text;
  log::debug("fuse", "{}", text);
}

/// Calls `function`, and gives back what it and its children write to stderr.
template <typename Function>
std::string without_stderr(Function function) {
  const UniqueFd caught(::memfd_create("stderr", MFD_CLOEXEC));
  const UniqueFd saved(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!caught || !saved) {
    function();
    return {};
  }
  ::dup2(caught.get(), STDERR_FILENO);
  function();
  ::dup2(saved.get(), STDERR_FILENO);
  char text[512];
  const ssize_t length = ::pread(caught.get(), text, sizeof(text), 0);
  return {text, static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
}

/// By libfuse, which knows how: mount(2) as root, else fusermount3. Its session is for that only.
Result<UniqueFd> mount_by_libfuse(const std::string& path) {
  fuse_set_log_func(keep_complaint);
  last_complaint().clear();
  fuse_session* const session = fuse::new_session(nullptr);
  if (session == nullptr) return fail(EINVAL, "start a FUSE session ({})", last_complaint());
  const auto end = defer([&] { fuse_session_destroy(session); });
  int failed = 0;
  std::string complaint = without_stderr([&] { failed = fuse_session_mount(session, path.c_str()); });
  if (failed == 0) {
    UniqueFd fd(::fcntl(fuse_session_fd(session), F_DUPFD_CLOEXEC, 0));
    if (!fd) return fail(errno, "mount on '{}'", path);
    return fd;
  }
  complaint += last_complaint();
  while (complaint.ends_with('\n')) complaint.pop_back();
  return fail_hint(EPERM,
                   ::geteuid() == 0 ? "in a container, allow it CAP_SYS_ADMIN"
                                    : "apt-get install fuse3, which has fusermount3",
                   "mount on '{}' ({})", path, complaint);
}

class Here final : public Mounter {
 public:
  Result<UniqueFd> mount(const std::filesystem::path& mountpoint) override {
    if (auto device = UniqueFd::open("/dev/fuse", O_RDWR); !device) {
      return Failure(std::move(device).error().with_hint(
          "sudo modprobe fuse && sudo chmod 666 /dev/fuse; in a container, pass the device in"));
    }
    LKM_CHECK(fuse::clean_stale_mount(mountpoint));
    std::error_code error;
    std::filesystem::create_directories(mountpoint, error);
    if (error) return fail(error.value(), "make folder '{}'", mountpoint.string());
    LKM_TRY(const std::string path, fuse::mountinfo_path(mountpoint));
    return mount_by_libfuse(path);
  }
  Result<void> unmount(const std::filesystem::path& mountpoint) override { return fuse::unmount_ours(mountpoint); }
};

}  // namespace

Mounter& Mounter::here() {
  static Here here;
  return here;
}

}  // namespace lkm
