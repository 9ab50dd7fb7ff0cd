// SPDX-License-Identifier: GPL-2.0
//
// Network namespaces of the stack, as programs make, name and enter them. A namespace has a file in the programs'
// /run/netns (Programs::netns_folder()); what ip-netns(8) mounts on it is mounted in the stack.
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>

#include "toolkit/exec/thread.hpp"

namespace lkm::exec {
namespace {

/// The host's own, in which the program is.
bool is_netns_of(pid_t pid, const struct stat& file) {
  struct stat own {};
  return ::stat(fmt::format("/proc/{}/ns/net", pid).c_str(), &own) == 0 && own.st_dev == file.st_dev && own.st_ino == file.st_ino;
}

}  // namespace

/// Into a netns of the stack, by its file. By that of the host's, which a program has from before, to where it was then.
Thread::Outcome Thread::enter_netns() {
  if (arg(1) != 0 && arg(1) != CLONE_NEWNET) return pass();
  const auto file = process_->borrow(int(arg(0)));
  struct stat about {};
  if (!file || ::fstat(file->get(), &about) != 0 || !S_ISREG(about.st_mode)) return pass();
  if (is_netns_of(pid(), about)) {
    programs_.returns(*process_);
    return netns().call(SYS_setns, CLONE_NEWNET);
  }
  const auto name = programs_.netns_of(about.st_ino);
  if (!name) return pass();
  const auto number = programs_.stack().netns_fd(*name);
  if (!number) return -number.error().errno_value();
  auto netns = std::make_shared<StackFd>(programs_.stack(), *number);
  if (const long error = netns->call(SYS_setns, CLONE_NEWNET); error < 0) return error;
  programs_.enters(*process_, std::move(netns));
  return 0;
}

/// unshare() with a network namespace, and perhaps others, which are the host's.
Thread::Outcome Thread::make_netns() {
  Stack& stack = programs_.stack();
  if (!programs_.memory().has_for_network(tid_, 0)) return -ENOMEM;
  if (const long error = stack.syscall(SYS_unshare, CLONE_NEWNET); error < 0) return error;
  const long fd = stack.syscall(SYS_open, "/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  programs_.enters(*process_, std::make_shared<StackFd>(stack, int(fd)));
  return arg(0) == CLONE_NEWNET ? Outcome(0) : pass();
}

std::string Thread::read_path(unsigned long at) {
  constexpr std::size_t kPage = 4096;
  std::string path;
  while (path.size() < PATH_MAX) {
    std::array<char, 256> part;
    const std::size_t size = std::min(part.size(), kPage - (at + path.size()) % kPage);
    if (read(part.data(), reinterpret_cast<const void*>(at + path.size()), size) != 0) return {};
    const auto* const end = static_cast<const char*>(std::memchr(part.data(), 0, size));
    path.append(part.data(), end != nullptr ? std::size_t(end - part.data()) : size);
    if (end != nullptr) break;
  }
  return path;
}

/// `ip netns exec` mounts a sysfs of its netns on /sys, in place of the one there. The stack's shows what is of the netns of
/// who looks already, in the host's, which stays.
bool Thread::is_about_sys(unsigned long target) { return process_->seat && target != 0 && read_path(target) == "/sys"; }

/// `ip netns add` and `attach` mount the namespace that they are in on a file: that is what names it.
Thread::Outcome Thread::mount() {
  if (arg(2) != 0 && is_about_sys(arg(1)) && read_path(arg(2)) == "sysfs") return 0;
  if (arg(0) == 0 || arg(1) == 0 || (arg(3) & MS_BIND) == 0) return pass();
  const std::string what = read_path(arg(0));
  if (what != "/proc/self/ns/net" && what != "/proc/thread-self/ns/net" && what != fmt::format("/proc/{}/ns/net", pid())) return pass();
  const auto name = programs_.name_in_netns_folder(read_path(arg(1)));
  if (!name) return pass();
  const auto named = programs_.stack().netns_name(*name);
  return named ? 0 : -named.error().errno_value();
}

/// `ip netns delete`: the file itself is removed by the program.
Thread::Outcome Thread::unmount() {
  if (arg(0) == 0) return pass();
  if (arg(1) == MNT_DETACH && is_about_sys(arg(0))) return 0;
  const auto name = programs_.name_in_netns_folder(read_path(arg(0)));
  const auto names = programs_.stack().netns_list();
  if (!name || std::ranges::find(names, *name) == names.end()) return pass();
  const auto deleted = programs_.stack().netns_del(*name);
  return deleted ? 0 : -deleted.error().errno_value();
}

}  // namespace lkm::exec
