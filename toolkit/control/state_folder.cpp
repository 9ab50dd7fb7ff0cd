// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/state_folder.hpp"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "toolkit/base/child.hpp"

namespace lkm::control {
namespace fs = std::filesystem;
namespace {

bool valid_name(const std::string& name) {
  return !name.empty() && name.size() <= 32 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return c < 0x80 && (std::isalnum(c) || c == '_' || c == '.' || c == '-');
         });
}

// Makes a folder that nobody else may look into. In /tmp others may have made one first.
Result<void> make_private(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail(errno, "make '{}'", path.string());
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return fail(errno, "look at '{}'", path.string());
  if (!S_ISDIR(info.st_mode)) return fail(ENOTDIR, "state folder '{}'", path.string());
  if (info.st_uid != ::geteuid()) {
    return fail_hint(EPERM, "set XDG_RUNTIME_DIR to a folder of your own",
                     "state folder '{}' belongs to uid {}", path.string(), info.st_uid);
  }
  if (::chmod(path.c_str(), 0700) != 0) return fail(errno, "chmod '{}'", path.string());
  return {};
}

// Undoes the escapes of /proc/self/mountinfo (proc(5)): \040 for a blank and so on.
std::string unescape_octal(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Those that were mounted last come first. One that has two mounts is there twice.
std::vector<fs::path> mount_points_below(const fs::path& folder) {
  std::vector<fs::path> points;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;  // the fifth is the mount point
    const fs::path point = unescape_octal(field);
    if (point != folder && std::mismatch(folder.begin(), folder.end(), point.begin(), point.end()).first == folder.end())
      points.insert(points.begin(), point);
  }
  return points;
}

struct flock write_lock() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// The locked pid file. It retries when remove() of another process unlinked the file in between.
Result<UniqueFd> lock_pid_file(const fs::path& path) {
  for (;;) {
    LKM_TRY(UniqueFd fd, UniqueFd::open(path, O_RDWR | O_CREAT, 0600));
    struct flock lock = write_lock();
    if (::fcntl(fd.get(), F_SETLK, &lock) != 0) return fail(errno, "lock '{}'", path.string());
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) return fail(errno, "look at '{}'", path.string());
    if (info.st_nlink > 0) return fd;
  }
}

}  // namespace

fs::path StateFolder::root() {
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime && *runtime == '/') {
    return fs::path(runtime) / "lkm-run";
  }
  const fs::path run = fmt::format("/run/user/{}", ::geteuid());
  if (::access(run.c_str(), W_OK | X_OK) == 0) return run / "lkm-run";
  return fmt::format("/tmp/lkm-run-{}", ::geteuid());
}

Result<StateFolder> StateFolder::of(const std::string& name) {
  if (!valid_name(name)) {
    return fail_hint(EINVAL, "use up to 32 letters, digits, '_', '.' and '-', no dot first",
                     "stack name '{}'", name);
  }
  return StateFolder(name, root() / name);
}

std::vector<StateFolder> StateFolder::all() {
  std::vector<StateFolder> folders;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root(), ignored)) {
    if (auto folder = of(entry.path().filename()); folder && entry.is_directory(ignored)) {
      folders.push_back(std::move(*folder));
    }
  }
  std::sort(folders.begin(), folders.end(),
            [](const auto& a, const auto& b) { return a.name() < b.name(); });
  return folders;
}

std::optional<pid_t> StateFolder::owner() const {
  const auto fd = UniqueFd::open(path_ / "pid", O_RDWR);
  if (!fd) return std::nullopt;
  struct flock lock = write_lock();
  if (::fcntl(fd->get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return std::nullopt;
  return lock.l_pid;
}

bool StateFolder::mounted() const {
  const auto points = mount_points_below(path_);
  return std::ranges::find(points, mount()) != points.end();
}

/// The stack's own, and those of its other netns.
Result<void> StateFolder::clean_mounts() const {
  for (const fs::path& path : mount_points_below(path_)) {
    // Root may do it itself; a user needs the setuid helper of libfuse.
    if (::umount2(path.c_str(), MNT_DETACH) == 0) continue;
    LKM_TRY(auto child, Child::spawn({.argv = {"fusermount3", "-u", "-z", "--", path}}));
    LKM_TRY(const ExitStatus status, child.wait());
    if (!status.success()) {
      return fail_hint(EBUSY, fmt::format("fusermount3 -u -z {}", path.string()), "unmount '{}'", path.string());
    }
  }
  return {};
}

Result<UniqueFd> StateFolder::claim(Keep keep) const {
  LKM_CHECK(make_private(root()));
  LKM_CHECK(make_private(path_));
  auto locked = lock_pid_file(path_ / "pid");
  if (!locked) {
    const int error = locked.error().errno_value();
    if (error != EACCES && error != EAGAIN) return locked;
    return fail_hint(EBUSY, fmt::format("lkm-run down --name {}", name_),
                     "stack '{}' is up already (pid {})", name_, owner().value_or(0));
  }
  LKM_CHECK(write_pid(*locked));

  // Whoever had the folder before is dead: the lock is ours.
  LKM_CHECK(clean_mounts());
  std::error_code error;
  fs::remove(socket(), error);
  if (!error && keep == Keep::kNothing) fs::remove_all(plugins(), error);
  if (!error && keep == Keep::kNothing) fs::remove(record(), error);
  if (!error && keep == Keep::kNothing) fs::remove_all(path_ / "before", error);
  if (error) return fail(error.value(), "clean '{}'", path_.string());
  LKM_CHECK(make_private(mount()));
  LKM_CHECK(make_private(plugins()));
  return locked;
}

Result<void> StateFolder::write_pid(const UniqueFd& file) const {
  const std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(file.get(), 0) != 0 ||
      ::pwrite(file.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return fail(errno, "write '{}'", (path_ / "pid").string());
  }
  return {};
}

Result<void> StateFolder::take_over(const UniqueFd& claimed) const {
  struct flock lock = write_lock();
  if (::fcntl(claimed.get(), F_SETLK, &lock) != 0) {
    return fail(errno, "lock '{}'", (path_ / "pid").string());
  }
  return write_pid(claimed);
}

Result<void> StateFolder::remove() const {
  std::error_code error;
  if (!fs::exists(path_, error)) return {};
  const auto locked = lock_pid_file(path_ / "pid");
  if (!locked) return fail(EBUSY, "stack '{}' is up (pid {})", name_, owner().value_or(0));
  LKM_CHECK(clean_mounts());
  fs::remove_all(path_, error);
  if (error) return fail(error.value(), "remove '{}'", path_.string());
  return {};
}

}  // namespace lkm::control
