// SPDX-License-Identifier: GPL-2.0
//
// Symbolic links of the stack, as they must read on the host.
#pragma once

#include <string>
#include <string_view>

namespace lkm::fuse {

/// The text of a link that lies `depth` directories below the root of the stack, so that it leads
/// to the same place below the root of the mount and never out of it: an absolute target becomes
/// relative, a ".." above the root stays at the root (as chroot(2) would have it). What stays
/// inside anyway is returned unchanged, and so is what is no path ("pipe:[7]").
std::string confine_link(std::string_view target, unsigned depth);

}  // namespace lkm::fuse
