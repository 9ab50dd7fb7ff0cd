// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/stack_mounts.hpp"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

namespace lkm::fuse {

namespace {

struct Tree {
  const char* type;
  const char* path;
  long magic;
  bool required;
};

// Parents first. The folders in sysfs are made by the kernel for what was built.
constexpr Tree kTrees[] = {
    {"proc", "/proc", PROC_SUPER_MAGIC, true},
    {"sysfs", "/sys", SYSFS_MAGIC, true},
    {"debugfs", "/sys/kernel/debug", DEBUGFS_MAGIC, false},
    {"tracefs", "/sys/kernel/tracing", TRACEFS_MAGIC, false},
};

}  // namespace

Result<void> mount_kernel_trees(Stack& stack) {
  for (const Tree& tree : kTrees) {
    struct statfs present = {};
    if (stack.syscall(SYS_statfs, tree.path, &present) == 0 && present.f_type == tree.magic) {
      continue;
    }
    if (tree.required) stack.syscall(SYS_mkdir, tree.path, 0555);
    const long error =
        stack.syscall(SYS_mount, tree.type, tree.path, tree.type,
                      static_cast<unsigned long>(MS_NOSUID | MS_NODEV | MS_NOEXEC), nullptr);
    if (error < 0 && tree.required) {
      return fail(static_cast<int>(-error), "mount {} on '{}' in the stack", tree.type, tree.path);
    }
  }
  return {};
}

}  // namespace lkm::fuse
