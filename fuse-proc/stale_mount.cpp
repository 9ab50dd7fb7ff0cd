// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/stale_mount.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cerrno>

#include "toolkit/base/child.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::fuse {

namespace {

constexpr int kProbeLimitMs = 1000;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// mountinfo writes blank, tab, newline and backslash as three octal digits (fs/proc_namespace.c).
std::string unescape(std::string_view text) {
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
        octal(text[i + 3])) {
      plain += static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

/// errno of stat(2) on the path, 0 for success, ETIMEDOUT when there is no answer. A dead FUSE
/// connection answers at once; a live one whose server does not answer would hold the caller, hence
/// the other process. It can be killed, as its request was not even read by the server.
Result<int> probe(const std::string& path) {
  const pid_t pid = ::fork();
  if (pid < 0) return fail(errno, "fork");
  if (pid == 0) {
    struct stat st;
    ::_exit(::stat(path.c_str(), &st) == 0 ? 0 : errno);
  }
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (pidfd) {
    struct pollfd ended = {pidfd.get(), POLLIN, 0};
    // A stack's timer signal may come all the time: the limit is for all of the waits together.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kProbeLimitMs);
    int ready = 0;
    do {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      ready = ::poll(&ended, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) ::kill(pid, SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail(errno, "wait for the look at '{}'", path);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : ETIMEDOUT;
}

Result<void> detach(const std::string& path) {
  if (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
  if (errno != EPERM) return fail(errno, "unmount '{}'", path);
  LKM_TRY(auto child, Child::spawn({.argv = {"fusermount3", "-u", "-z", "-q", "--", path},
                                    .out = Child::Output::kNull,
                                    .err = Child::Output::kNull}));
  LKM_TRY(const auto status, child.wait());
  if (!status.success()) {
    return fail_hint(EPERM, fmt::format("fusermount3 -u -z '{}'", path), "unmount '{}'", path);
  }
  return {};
}

/// Whether what was mounted there last is a mount of ours.
Result<bool> is_ours(const std::string& path) {
  LKM_TRY(const std::string text, read_file("/proc/self/mountinfo"));
  const auto entries = parse_mountinfo(text);
  const auto top = std::find_if(entries.rbegin(), entries.rend(),
                                [&](const MountEntry& entry) { return entry.mount_point == path; });
  return top != entries.rend() && top->type == kMountType;
}

}  // namespace

std::vector<MountEntry> parse_mountinfo(std::string_view text) {
  std::vector<MountEntry> entries;
  for (const std::string_view line : split(text, '\n')) {
    // 36 35 98:0 /root /mount/point rw,noatime master:1 - type source rw
    const auto fields = split(line, ' ');
    constexpr std::size_t kMountPoint = 4;
    constexpr std::size_t kFirstTag = 6;
    if (fields.size() <= kFirstTag) continue;
    const auto dash = std::find(fields.begin() + kFirstTag, fields.end(), "-");
    if (fields.end() - dash < 3) continue;
    entries.push_back({unescape(fields[kMountPoint]), unescape(dash[1]), unescape(dash[2])});
  }
  return entries;
}

Result<std::string> mountinfo_path(const std::filesystem::path& mountpoint) {
  std::error_code error;
  auto path = std::filesystem::absolute(mountpoint, error).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a trailing slash
  const auto parent = std::filesystem::canonical(path.parent_path(), error);
  if (error) return fail(error.value(), "look for '{}'", path.parent_path().string());
  return (parent / path.filename()).string();
}

Result<bool> clean_stale_mount(const std::filesystem::path& mountpoint) {
  auto found = mountinfo_path(mountpoint);
  if (!found && found.error().errno_value() == ENOENT) return false;
  LKM_TRY(const std::string path, std::move(found));
  for (bool cleaned = false;; cleaned = true) {
    LKM_TRY(const bool ours, is_ours(path));
    if (!ours) return cleaned;
    LKM_TRY(const int state, probe(path));
    if (state != ENOTCONN && state != ECONNABORTED) {
      return fail_hint(EBUSY,
                       fmt::format("end the stack that serves it, or fusermount3 -u '{}'", path),
                       "'{}' is served by a running process", path);
    }
    LKM_CHECK(detach(path));
  }
}

Result<void> unmount_ours(const std::filesystem::path& mountpoint) {
  LKM_TRY(const std::string path, mountinfo_path(mountpoint));
  LKM_TRY(const bool ours, is_ours(path));
  return ours ? detach(path) : Result<void>();
}

}  // namespace lkm::fuse
