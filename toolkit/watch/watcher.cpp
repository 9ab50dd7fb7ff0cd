// SPDX-License-Identifier: GPL-2.0
#include "toolkit/watch/watcher.hpp"

#include <limits.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>

#include <algorithm>

#include "toolkit/base/log.hpp"
#include "toolkit/watch/noise.hpp"

namespace lkm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kComingAndGoing =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
// IN_ATTRIB: a file became readable, or lost its last other link.
constexpr std::uint32_t kEverything = kComingAndGoing | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB;

std::vector<fs::path> difference(const FolderContents& before, const FolderContents& after) {
  std::vector<fs::path> paths;
  for (const auto& [path, print] : after.files) {
    const auto it = before.files.find(path);
    if (it == before.files.end() || it->second != print) paths.push_back(path);
  }
  for (const auto& [path, print] : before.files) {
    if (!after.files.contains(path)) paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

Result<Watcher> Watcher::open(const fs::path& folder, Options options) {
  std::error_code error;
  fs::path absolute = fs::absolute(folder, error).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();  // "mycc/"
  const auto status = fs::status(absolute, error);
  if (!fs::exists(status)) return fail(ENOENT, "watch '{}'", folder.string());
  if (!fs::is_directory(status)) return fail(ENOTDIR, "watch '{}'", folder.string());

  UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) {
    return fail_hint(errno, "sysctl -w fs.inotify.max_user_instances=512", "watch '{}'",
                     folder.string());
  }
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!timer || !epoll) return fail(errno, "watch '{}'", folder.string());
  for (const int fd : {inotify.get(), timer.get()}) {
    struct epoll_event event {
      .events = EPOLLIN, .data = {.fd = fd }
    };
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      return fail(errno, "watch '{}'", folder.string());
    }
  }
  Watcher watcher(std::move(absolute), options, std::move(inotify), std::move(timer),
                  std::move(epoll));
  LKM_TRY(watcher.known_, watcher.rescan());
  return watcher;
}

Result<FolderContents> Watcher::rescan() {
  std::map<int, Watch> watches;
  const auto watch = [&](const fs::path& path, const std::string& name,
                         Interest interest) -> Result<void> {
    const std::uint32_t mask = interest == Interest::kWay ? kComingAndGoing : kEverything;
    // IN_MASK_ADD: one folder may be of interest for several reasons.
    const int wd =
        ::inotify_add_watch(inotify_.get(), path.c_str(), mask | IN_MASK_ADD | IN_ONLYDIR);
    if (wd < 0) {
      if (errno == ENOSPC) {
        return fail_hint(ENOSPC, "sysctl -w fs.inotify.max_user_watches=65536", "watch '{}'",
                         path.string());
      }
      // Not there or not readable: the folder above it tells when that changes.
      log::debug("watch", "no watch on '{}': errno {}", path.string(), errno);
      return {};
    }
    Watch& entry = watches[wd];
    if (interest == Interest::kAll) {
      entry.all = true;
    } else {
      entry.names.insert(name);
    }
    return {};
  };
  auto contents = scan(folder_, watch);
  if (contents) {
    for (const auto& [wd, entry] : watches_) {
      if (!watches.contains(wd)) ::inotify_rm_watch(inotify_.get(), wd);
    }
    watches_ = std::move(watches);
  } else {
    watches_.merge(watches);  // keep all, so that the next event brings the next try
  }
  return contents;
}

Result<std::optional<ChangeSet>> Watcher::next() {
  LKM_CHECK(drain());
  if (!first_ || Clock::now() < due()) {
    LKM_CHECK(arm());
    return std::nullopt;
  }
  const bool overflowed = std::exchange(overflowed_, false);
  first_.reset();
  writing_.clear();
  missing_.clear();
  LKM_CHECK(arm());
  LKM_TRY(FolderContents now, rescan());

  ChangeSet change{.kind = ChangeSet::Kind::kChanged, .paths = {}, .overflowed = overflowed};
  if (known_.exists != now.exists) {
    change.kind = now.exists ? ChangeSet::Kind::kBack : ChangeSet::Kind::kGone;
  }
  change.paths = difference(known_, now);
  known_ = std::move(now);
  if (change.kind == ChangeSet::Kind::kChanged && change.paths.empty()) return std::nullopt;
  return change;
}

Result<void> Watcher::drain() {
  alignas(inotify_event) char buffer[64 * (sizeof(inotify_event) + NAME_MAX + 1)];
  // Under a steady flood the queue may never be seen empty, but the report is due all the same.
  while (!first_ || Clock::now() < *first_ + options_.bound) {
    const ssize_t got = ::read(inotify_.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return {};
    if (got < 0) return fail(errno, "watch '{}': read events", folder_.string());
    for (ssize_t at = 0; at < got;) {
      const auto& event = *reinterpret_cast<const inotify_event*>(buffer + at);
      take(event);
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
  return {};
}

void Watcher::take(const inotify_event& event) {
  if (event.mask & IN_Q_OVERFLOW) {
    overflowed_ = true;
    writing_.clear();  // a close may be among what was lost
    whole_ = false;
    note_activity();
    return;
  }
  const auto watch = watches_.find(event.wd);
  if (watch == watches_.end()) return;  // removed meanwhile
  if (event.len == 0) {                 // the folder itself
    if (event.mask & IN_IGNORED) watches_.erase(watch);
    whole_ = false;
    note_activity();
    return;
  }
  const std::string name = event.name;
  if (!watch->second.names.contains(name) && !(watch->second.all && !is_noise(name))) return;
  if (event.mask & IN_MODIFY) {
    writing_.emplace(event.wd, name);
  } else if (event.mask & (IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM)) {
    writing_.erase({event.wd, name});
  }
  if (event.mask & (IN_DELETE | IN_MOVED_FROM)) {
    missing_.emplace(event.wd, name);
  } else if (event.mask & (IN_CREATE | IN_MOVED_TO)) {
    missing_.erase({event.wd, name});
  }
  // Permissions and times may be set after a file is whole.
  if (!(event.mask & IN_ATTRIB)) {
    whole_ = missing_.empty() && (event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0;
  }
  note_activity();
}

void Watcher::note_activity() {
  last_ = Clock::now();
  if (!first_) first_ = last_;
}

Watcher::Clock::time_point Watcher::due() const {
  const auto latest = *first_ + options_.bound;
  if (!writing_.empty()) return latest;
  return std::min(last_ + (whole_ ? options_.settled : options_.quiet), latest);
}

Result<void> Watcher::arm() {
  // All zero disarms; a time already past fires at once.
  struct itimerspec spec {};
  if (first_) {
    const auto at = due().time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at);
    spec.it_value.tv_sec = seconds.count();
    spec.it_value.tv_nsec = std::chrono::nanoseconds(at - seconds).count();
  }
  if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0) {
    return fail(errno, "watch '{}': set the timer", folder_.string());
  }
  return {};
}

}  // namespace lkm
