// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/directory.hpp"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include <cstddef>

#include "fuse-proc/libfuse.hpp"

namespace lkm::fuse {

namespace {

// struct linux_dirent64 is in no header of libc.
constexpr std::size_t kInodeAt = 0;
constexpr std::size_t kNextAt = 8;
constexpr std::size_t kLengthAt = 16;
constexpr std::size_t kTypeAt = 18;
constexpr std::size_t kNameAt = 19;

template <typename T>
T load(std::string_view bytes, std::size_t at) {
  T value;
  memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

}  // namespace

std::vector<DirectoryEntry> parse_dirents(std::string_view bytes) {
  std::vector<DirectoryEntry> entries;
  while (bytes.size() > kNameAt) {
    const auto length = load<std::uint16_t>(bytes, kLengthAt);
    if (length <= kNameAt || length > bytes.size()) break;
    const char* name = bytes.data() + kNameAt;
    entries.push_back({.name = std::string(name, strnlen(name, length - kNameAt)),
                       .inode = load<std::uint64_t>(bytes, kInodeAt),
                       .type = load<unsigned char>(bytes, kTypeAt),
                       .next = load<off_t>(bytes, kNextAt)});
    bytes.remove_prefix(length);
  }
  return entries;
}

bool append_direntry(std::string& answer, std::size_t room, const DirectoryEntry& entry) {
  const std::size_t used = answer.size();
  // The request is not used by these two functions (libfuse, lib/fuse_lowlevel.c).
  const std::size_t needed = fuse_add_direntry(nullptr, nullptr, 0, entry.name.c_str(), nullptr, 0);
  if (used + needed > room) return false;
  struct stat st = {};
  st.st_ino = entry.inode;
  st.st_mode = DTTOIF(entry.type);
  answer.resize(used + needed);
  fuse_add_direntry(nullptr, answer.data() + used, needed, entry.name.c_str(), &st, entry.next);
  return true;
}

}  // namespace lkm::fuse
