// SPDX-License-Identifier: GPL-2.0
#include "toolkit/watch/scan.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "toolkit/base/fnv.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/watch/noise.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFolders = 1024;
constexpr int kMaxLinks = 40;  // as the kernel's MAXSYMLINKS (include/linux/namei.h)

Fingerprint fingerprint(const fs::path& path) {
  Fingerprint print{.size = 0, .hash = kFnvStart, .error = 0};
  // O_NONBLOCK: a FIFO put in the file's place since the stat must not hang us.
  const auto fd = UniqueFd::open(path, O_RDONLY | O_NONBLOCK);
  if (!fd) return {.size = 0, .hash = 0, .error = fd.error().errno_value()};
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd->get(), buffer, sizeof buffer);
    if (got == 0) return print;
    if (got < 0) {
      if (errno == EINTR) continue;
      return {.size = 0, .hash = 0, .error = errno};
    }
    print.size += static_cast<std::uint64_t>(got);
    print.hash = fnv1a({buffer, static_cast<std::size_t>(got)}, print.hash);
  }
}

class Scanner {
 public:
  explicit Scanner(const WatchFolder& watch) : watch_(watch) {}

  // Watches each folder on the way to `path`, and on the way to where it leads if it is a symlink.
  Result<void> way_to(fs::path path, Interest last) {
    for (int links = 0; links < kMaxLinks; ++links) {
      Interest interest = last;
      for (fs::path at = path; at.has_relative_path(); at = at.parent_path()) {
        LKM_CHECK(watch_(at.parent_path(), at.filename(), interest));
        interest = Interest::kWay;
      }
      std::error_code not_a_link;
      const fs::path target = fs::read_symlink(path, not_a_link);
      if (not_a_link) break;
      path = path.parent_path() / target;  // not normalised: x/.. is elsewhere when x is a symlink
    }
    return {};
  }

  Result<void> folder(const fs::path& path, const fs::path& relative) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return {};
    if (!seen_.emplace(status.st_dev, status.st_ino).second) return {};
    if (seen_.size() > kMaxFolders) {
      return fail_hint(E2BIG, "name the folder of one module, with its Kbuild or Makefile",
                       "watch: more than {} folders, at '{}'", kMaxFolders, path.string());
    }
    LKM_CHECK(watch_(path, "", Interest::kAll));
    if (relative.empty()) contents.exists = true;

    std::vector<std::string> names;
    std::error_code gone;
    for (fs::directory_iterator it(path, gone), end; !gone && it != end; it.increment(gone)) {
      if (std::string name = it->path().filename(); !is_noise(name))
        names.push_back(std::move(name));
    }
    std::sort(names.begin(), names.end());
    for (const auto& name : names) {
      const fs::path child = path / name;
      if (::lstat(child.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
        LKM_CHECK(way_to(child, Interest::kFile));
      }
      if (::stat(child.c_str(), &status) != 0) continue;
      if (S_ISDIR(status.st_mode)) {
        LKM_CHECK(folder(child, relative / name));
      } else if (S_ISREG(status.st_mode)) {
        contents.files.emplace(relative / name, fingerprint(child));
      }
    }
    return {};
  }

  FolderContents contents;

 private:
  const WatchFolder& watch_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

}  // namespace

Result<FolderContents> scan(const fs::path& folder, const WatchFolder& watch) {
  Scanner scanner(watch);
  LKM_CHECK(scanner.way_to(folder, Interest::kWay));
  LKM_CHECK(scanner.folder(folder, {}));
  return std::move(scanner.contents);
}

}  // namespace lkm
