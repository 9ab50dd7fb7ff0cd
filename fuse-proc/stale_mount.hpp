// SPDX-License-Identifier: GPL-2.0
//
// Mounts whose server is gone: every access to them fails with ENOTCONN until they are unmounted.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::fuse {

inline constexpr std::string_view kMountType = "fuse.lkm-run";

struct MountEntry {
  std::string mount_point;
  std::string type;
  std::string source;
  bool operator==(const MountEntry&) const = default;
};

/// The lines of /proc/PID/mountinfo (proc(5)), in their order: a later one covers an earlier one at
/// the same mount point. Lines that are no mountinfo are left out.
std::vector<MountEntry> parse_mountinfo(std::string_view text);

/// How the mount point reads in mountinfo: absolute, links resolved in its parent. The mount point
/// itself is not touched, since that could hang.
Result<std::string> mountinfo_path(const std::filesystem::path& mountpoint);

/// Unmounts what lies there of ours and is dead. True when there was something. Errors: EBUSY when
/// a live process serves it; as umount2(2).
Result<bool> clean_stale_mount(const std::filesystem::path& mountpoint);

/// Lazily unmounts what lies there if it is ours, alive or dead. Errors: as umount2(2).
Result<void> unmount_ours(const std::filesystem::path& mountpoint);

}  // namespace lkm::fuse
