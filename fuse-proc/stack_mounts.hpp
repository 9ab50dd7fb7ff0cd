// SPDX-License-Identifier: GPL-2.0
#pragma once

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"

namespace lkm::fuse {

/// Makes sure that procfs and sysfs are mounted in the stack at /proc and /sys, and debugfs and
/// tracefs in sysfs as far as the stack has them. Errors: as mount(2), for procfs and sysfs.
Result<void> mount_kernel_trees(Stack& stack);

}  // namespace lkm::fuse
