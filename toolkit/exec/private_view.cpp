// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/private_view.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "toolkit/base/temp_dir.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::exec {
namespace {

Result<void> bind(const std::filesystem::path& from, const char* to) {
  if (::mount(from.c_str(), to, nullptr, MS_BIND, nullptr) == 0) return {};
  return fail(errno, "mount '{}' on '{}'", from.string(), to);
}

/// /proc/net is a symbolic link to the reader's own folder. mount(2) would follow it; what is mounted on the link
/// itself, by descriptors, is another link.
Result<void> mount_proc_net(const std::filesystem::path& target) {
  LKM_TRY(const TempDir folder, TempDir::make());
  const std::string link = folder.path() / "net";
  if (::symlink(target.c_str(), link.c_str()) != 0) return fail(errno, "make a link to '{}'", target.string());
  const UniqueFd tree(::open_tree(AT_FDCWD, link.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  const UniqueFd place(::open("/proc/net", O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!tree || !place ||
      ::move_mount(tree.get(), "", place.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return fail(errno, "mount on '/proc/net'");
  }
  return {};
}

}  // namespace

Result<void> show_view(const std::filesystem::path& view, const std::filesystem::path& netns) {
  if (::unshare(CLONE_NEWNS) != 0) return fail(errno, "make a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return fail(errno, "make mounts private");
  LKM_CHECK(bind(view / "proc/sys/net", "/proc/sys/net"));
  LKM_CHECK(bind(view / "sys/class/net", "/sys/class/net"));
  // The links in there lead here.
  LKM_CHECK(bind(view / "sys/devices/virtual/net", "/sys/devices/virtual/net"));
  LKM_CHECK(mount_proc_net(view / "proc/net"));
  // As ip-netns(8) has it; made here if the host has never had any.
  if (::mkdir("/run/netns", 0755) != 0 && errno != EEXIST) return fail(errno, "make '/run/netns'");
  return bind(netns, "/run/netns");
}

}  // namespace lkm::exec
