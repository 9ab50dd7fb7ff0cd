// SPDX-License-Identifier: GPL-2.0
//
// The state folder of a stack: where its socket, pid, log, mount point and plugins lie on the host.
//
//   $XDG_RUNTIME_DIR/lkm-run/<name>/     0700; without it /run/user/$UID, then /tmp/lkm-run-$UID
//     pid        locked as long as the stack process lives
//     control    the control socket, 0600
//     log        kernel log text
//     mnt/       the FUSE mount: mnt/proc, mnt/sys
//     plugins/   one file per generation of each module
//     record     what was done to the stack, to be done again if it dies (record.hpp)
//     before/    of modules that were swapped, the build before the present one
//
// A stack is alive as long as a process holds the write lock on `pid`. It is a POSIX record lock
// (fcntl(2), F_SETLK), not flock(2): a forked snapshot of the stack must not inherit it, the kernel
// tells who holds it, and it can be asked without being taken. Its price: the stack process may open
// `pid` only once, since closing any descriptor of the file drops the lock.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

namespace lkm::control {

class StateFolder {
 public:
  /// The folder of the stack called `name`; touches nothing.
  /// Errors: EINVAL for a name that is not [A-Za-z0-9_.-]{1,32} or begins with a dot.
  static Result<StateFolder> of(const std::string& name);
  /// The folders there are, of live and of dead stacks, by name.
  static std::vector<StateFolder> all();
  /// Where all of them lie.
  static std::filesystem::path root();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path socket() const { return path_ / "control"; }
  [[nodiscard]] std::filesystem::path log() const { return path_ / "log"; }
  [[nodiscard]] std::filesystem::path mount() const { return path_ / "mnt"; }
  [[nodiscard]] std::filesystem::path plugins() const { return path_ / "plugins"; }
  [[nodiscard]] std::filesystem::path record() const { return path_ / "record"; }

  /// pid of the living stack process; nullopt when none lives.
  [[nodiscard]] std::optional<pid_t> owner() const;
  /// True when a FUSE mount is on mount(), alive or stale.
  [[nodiscard]] bool mounted() const;

  /// Makes the folder and takes the lock for this process, until the descriptor is closed. What a dead
  /// stack left (socket, stale mount, plugins) is removed first.
  /// Errors: EBUSY when a live stack has the name; EPERM when somebody else owns the folder.
  /// kPluginsAndRecord: the new stack is to be as the dead one was.
  enum class Keep { kNothing, kPluginsAndRecord };
  [[nodiscard]] Result<UniqueFd> claim(Keep keep = Keep::kNothing) const;
  /// For a stack that goes on in another process than claim() was called in: the lock and the pid are its own now.
  Result<void> take_over(const UniqueFd& claimed) const;
  /// Removes what a dead stack left: its mount, then the folder.
  /// Errors: EBUSY when it lives or the mount is in use.
  [[nodiscard]] Result<void> remove() const;

 private:
  StateFolder(std::string name, std::filesystem::path path)
      : name_(std::move(name)), path_(std::move(path)) {}
  [[nodiscard]] Result<void> clean_mounts() const;
  [[nodiscard]] Result<void> write_pid(const UniqueFd& file) const;

  std::string name_;
  std::filesystem::path path_;
};

}  // namespace lkm::control
