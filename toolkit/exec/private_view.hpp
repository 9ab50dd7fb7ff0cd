// SPDX-License-Identifier: GPL-2.0
//
// The network part of /proc and /sys, for one program and what it starts.
#pragma once

#include <filesystem>

#include "toolkit/base/result.hpp"

namespace lkm::exec {

/// Gives the calling process a mount namespace of its own, in which /proc/net, /proc/sys/net, /sys/class/net and
/// /sys/devices/virtual/net are those of `view`, a folder with a stack's `proc` and `sys`. Mounts that the host makes
/// or removes later show in there too, but not the other way round. /run/netns, where ip-netns(8) looks, is `netns`.
/// Errors: EPERM without CAP_SYS_ADMIN; as of mount(2). What was mounted until then stays.
Result<void> show_view(const std::filesystem::path& view, const std::filesystem::path& netns);

}  // namespace lkm::exec
