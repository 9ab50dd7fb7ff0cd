// SPDX-License-Identifier: GPL-2.0
//
// Directory listings: from getdents64(2) of the stack to what FUSE_READDIR wants.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lkm::fuse {

struct DirectoryEntry {
  std::string name;
  std::uint64_t inode = 0;
  unsigned char type = 0;  ///< DT_* of <dirent.h>
  off_t next = 0;          ///< the offset that continues after this entry
};

/// The entries in a buffer that getdents64(2) filled (`struct linux_dirent64`, fs/readdir.c). Stops
/// at the first one that is not whole.
std::vector<DirectoryEntry> parse_dirents(std::string_view bytes);

/// Appends an entry to a FUSE_READDIR answer of at most `room` bytes in all. False: no room.
bool append_direntry(std::string& answer, std::size_t room, const DirectoryEntry& entry);

}  // namespace lkm::fuse
