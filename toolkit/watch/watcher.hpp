// SPDX-License-Identifier: GPL-2.0
//
// Watcher: tells when the sources in a module's folder have changed.
//
//   LKM_TRY(auto watcher, Watcher::open("mycc"));
//   for (;;) {
//     wait until watcher.fd() is readable (poll, epoll)
//     LKM_TRY(const auto change, watcher.next());
//     if (change) rebuild(change->paths);
//   }
//
// inotify says *that* something happened; *what* changed is found by comparing the content of all
// source files with what it was at the last report. That one mechanism covers every way to save: in
// place, by rename over the file, through temporary files that are gone again, lost events, a
// folder that is deleted and made again, a symlink turned elsewhere. It also means that a save (or
// touch) which changes no byte is not reported: there is nothing new to build.
//
// A report comes after `quiet` without further events, so a burst is one report. When what happened
// last was that a file is whole, closed by its writer or renamed to its place, and none is missing
// that was there, `settled` is enough: that is how a single save ends. While a file is
// written but not yet closed, the quiet period does not count (truncate(2), and setting nothing but
// the mtime, look like that too). Under steady events there is a report at the latest `bound` after
// the first. Changes made while the caller builds are kept, and come at the next call.
//
// Build products and editors' temporary files are no sources, see noise.hpp.
//
// Not seen until something else happens in the folder (inotify does not tell): writes through mmap,
// through a hard link in another folder, and from another machine on a network file system.
//
// One thread; nothing here blocks but reading the source files.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"
#include "toolkit/watch/scan.hpp"

struct inotify_event;

namespace lkm {

struct ChangeSet {
  enum class Kind {
    kChanged,
    kGone,  ///< the folder is no more; its return is waited for
    kBack,  ///< the folder is there again
  };
  Kind kind = Kind::kChanged;
  /// Files that are new, changed or gone: relative to the folder, sorted. At kBack, all in it.
  std::vector<std::filesystem::path> paths;
  bool overflowed =
      false;  ///< the kernel dropped events meanwhile; `paths` is complete all the same
};

class Watcher {
 public:
  struct Options {
    std::chrono::milliseconds quiet{50};
    std::chrono::milliseconds settled{20};  ///< no longer than `quiet`
    std::chrono::milliseconds bound{1000};
  };

  /// Watches `folder` and what is below it. What it holds now counts as known. Errors: ENOENT or
  /// ENOTDIR; EMFILE or ENOSPC at the user's inotify limits, with the sysctl to raise; E2BIG for a
  /// tree too large for a module.
  static Result<Watcher> open(const std::filesystem::path& folder, Options options);
  static Result<Watcher> open(const std::filesystem::path& folder) { return open(folder, {}); }

  /// Readable (POLLIN) when next() has work to do, also if that turns out to be no report.
  [[nodiscard]] int fd() const { return epoll_.get(); }
  /// The next report, if one is due. Never waits. Errors: ENOSPC and E2BIG as at open(); the
  /// watcher tries again at the next event.
  Result<std::optional<ChangeSet>> next();
  /// The folder, as an absolute path.
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Watch {
    bool all = false;             // every name in this folder matters
    std::set<std::string> names;  // these do
  };

  Watcher(std::filesystem::path folder, Options options, UniqueFd inotify, UniqueFd timer,
          UniqueFd epoll)
      : folder_(std::move(folder)),
        options_(options),
        inotify_(std::move(inotify)),
        timer_(std::move(timer)),
        epoll_(std::move(epoll)) {}

  Result<FolderContents> rescan();
  Result<void> drain();
  void take(const inotify_event& event);
  void note_activity();
  [[nodiscard]] Clock::time_point due() const;
  Result<void> arm();

  std::filesystem::path folder_;
  Options options_;
  UniqueFd inotify_;
  UniqueFd timer_;                // the end of the quiet period or of the bound
  UniqueFd epoll_;                // both of the above
  std::map<int, Watch> watches_;  // by watch descriptor
  FolderContents known_;                // as of the last report

  // The burst that is under way.
  std::optional<Clock::time_point> first_;
  Clock::time_point last_;
  std::set<std::pair<int, std::string>> writing_;  // written, not yet closed
  std::set<std::pair<int, std::string>> missing_;  // away, and not yet there again
  bool whole_ = false;                             // the last event completed a file
  bool overflowed_ = false;
};

}  // namespace lkm
