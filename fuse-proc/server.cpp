// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/server.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

#include "fuse-proc/links.hpp"
#include "toolkit/base/defer.hpp"

namespace lkm::fuse {

namespace {

constexpr std::size_t kDirentsBuffer = 8192;         // bytes per getdents64(2)
constexpr std::uint64_t kUnknownInode = 0xffffffff;  // 0 would be "no entry" to readdir(3)

// All that the mount shows of the stack's "/".
constexpr std::array<const char*, 2> kTopLevel = {"proc", "sys"};

bool shown_at_top(const std::string& name) {
  return std::find(kTopLevel.begin(), kTopLevel.end(), name) != kTopLevel.end();
}

}  // namespace

Server::Server(Stack& stack, int root, const struct stat& root_stat, std::string self,
               std::string thread_self, std::function<void()> on_drained)
    : stack_(stack),
      self_(std::move(self)),
      thread_self_(std::move(thread_self)),
      workers_(std::make_shared<WorkerPool>(stack, "fuse", std::move(on_drained))),
      nodes_(root, Identity::of(root_stat)) {}

Server::~Server() {
  if (session_ != nullptr) fuse_session_destroy(session_);
}

void Server::start(fuse_req_t request, Request::Work work, Interruptible interruptible) {
  // 0: in another pid namespace, or nobody
  const pid_t caller = task_of_ ? fuse_req_ctx(request)->pid : 0;
  if (const std::string task = caller > 0 ? task_of_(caller) : ""; !task.empty()) {
    work = [this, task, work = std::move(work)](Request& answer) {
      Visit visit(stack_, task);
      if (const long error = visit.error(); error < 0) return (void)answer.error(error);
      answer.visits(&visit);
      work(answer);
      answer.visits(nullptr);
    };
  }
  workers_->start(
      std::make_shared<Request>(shared_from_this(), request, std::move(work), interruptible));
}

// -- names ---------------------------------------------------------------------------------------

/// sysfs shows the devices of the netns in which it was mounted. (sysctls are those of who asks.)
int Server::directory_of(const Request& request, const NodeTable::Node& node) {
  if (request.visit() == nullptr || node.name != "net") return node.directory;
  std::string path;
  for (const NodeTable::Node* at = &node; at->parent != nullptr; at = at->parent) path = "/" + at->name + path;
  const bool of_devices = path == "/sys/class/net" || path == "/sys/devices/virtual/net";
  return of_devices ? request.visit()->directory(path) : node.directory;
}

Server::Place Server::place(const Request& request, const NodeTable::Node& node) {
  if (node.directory >= 0) return {node.directory, "."};
  return {directory_of(request, *node.parent), node.name};
}

struct stat Server::shown(struct stat st) {
  st.st_ino = inodes_.number(st.st_dev, st.st_ino);
  return st;
}

long Server::stat_at(const Place& place, struct stat& st) {
  return stack_.syscall(SYS_newfstatat, place.directory, place.name.c_str(), &st,
                        AT_SYMLINK_NOFOLLOW);
}

long Server::resolve(const Request& request, NodeTable::Id parent, const std::string& name, fuse_entry_param& entry) {
  const NodeTable::Node* above = nodes_.find(parent);
  if (above == nullptr || above->directory < 0) return -ESTALE;
  if (parent == NodeTable::kRoot && !shown_at_top(name)) return -ENOENT;
  const int base = directory_of(request, *above);
  struct stat st;
  if (const long error = stat_at({base, name}, st); error < 0) return error;
  int directory = -1;
  if (S_ISDIR(st.st_mode)) {
    // O_DIRECTORY makes an automount point (debugfs' "tracing") give what is mounted there.
    directory = static_cast<int>(
        stack_.syscall(SYS_openat, base, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    if (directory < 0) return directory;
    if (const long error = stat_at({directory, "."}, st); error < 0) {
      stack_.syscall(SYS_close, directory);
      return error;
    }
  }
  bool taken = false;
  const NodeTable::Node& node = nodes_.look_up(parent, name, Identity::of(st), directory, taken);
  entry.ino = node.id;
  entry.attr = shown(st);
  if (directory >= 0 && !taken) stack_.syscall(SYS_close, directory);
  return 0;
}

void Server::answer_entry(Request& request, NodeTable::Id parent, const std::string& name) {
  fuse_entry_param entry = {};
  if (const long error = resolve(request, parent, name, entry); error < 0) {
    request.error(error);
  } else if (!request.entry(entry)) {
    forget(entry.ino, 1);
  }
}

void Server::forget(NodeTable::Id id, std::uint64_t lookups) {
  for (const int directory : nodes_.forget(id, lookups)) stack_.syscall(SYS_close, directory);
}

void Server::read_link(Request& request, NodeTable::Id id) {
  const NodeTable::Node* node = nodes_.find(id);
  if (node == nullptr) return (void)request.error(-ESTALE);
  // The kernel would name the worker that asks; the host comes back for that directory later, when
  // this worker may be gone.
  if (node->depth == 2 && node->parent->name == "proc") {
    if (node->name == "self") return (void)request.link(self_);
    if (node->name == "thread-self") return (void)request.link(thread_self_);
    if (node->name == "net" && request.visit() != nullptr) return (void)request.link(request.visit()->task() + "/net");
  }
  const unsigned depth = node->depth - 1;
  const Place at = place(request, *node);
  char* const target = request.buffer(PATH_MAX);
  const long length =
      stack_.syscall(SYS_readlinkat, at.directory, at.name.c_str(), target, PATH_MAX - 1);
  if (length < 0) return (void)request.error(length);
  request.link(confine_link({target, static_cast<std::size_t>(length)}, depth));
}

// -- attributes ----------------------------------------------------------------------------------

void Server::answer_attributes(Request& request, NodeTable::Id id, const Handle* handle) {
  const NodeTable::Node* node = nodes_.find(id);
  if (node == nullptr) return (void)request.error(-ESTALE);
  const mode_t type = node->identity.type;
  struct stat st;
  const long error = handle != nullptr && handle->fd >= 0
                         ? stack_.syscall(SYS_fstat, handle->fd, &st)
                         : stat_at(place(request, *node), st);
  if (error < 0) return (void)request.error(error);
  // Another kind of object has the name now. ESTALE makes the host look the name up again.
  if ((st.st_mode & S_IFMT) != type) return (void)request.error(-ESTALE);
  request.attributes(shown(st));
}

long Server::change_attributes(const Request& request, const NodeTable::Node& node, const Handle* handle,
                               const struct stat& wanted, int which) {
  const Place at = place(request, node);
  const char* const name = at.name.c_str();
  if (which & FUSE_SET_ATTR_MODE) {
    // chmod(2) follows a link, and here it would follow it in the stack.
    if (S_ISLNK(node.identity.type)) return -EOPNOTSUPP;
    const long error = stack_.syscall(SYS_fchmodat, at.directory, name, wanted.st_mode & 07777);
    if (error < 0) return error;
  }
  if (which & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) {
    const uid_t uid = which & FUSE_SET_ATTR_UID ? wanted.st_uid : static_cast<uid_t>(-1);
    const gid_t gid = which & FUSE_SET_ATTR_GID ? wanted.st_gid : static_cast<gid_t>(-1);
    const long error =
        stack_.syscall(SYS_fchownat, at.directory, name, uid, gid, AT_SYMLINK_NOFOLLOW);
    if (error < 0) return error;
  }
  if (which & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) {
    const auto time = [&](int set, int now, const struct timespec& value) {
      if (which & now) return timespec{0, UTIME_NOW};
      return which & set ? value : timespec{0, UTIME_OMIT};
    };
    const struct timespec times[2] = {
        time(FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, wanted.st_atim),
        time(FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, wanted.st_mtim)};
    const long error =
        stack_.syscall(SYS_utimensat, at.directory, name, times, AT_SYMLINK_NOFOLLOW);
    if (error < 0) return error;
  }
  if (which & FUSE_SET_ATTR_SIZE) {
    if (handle != nullptr) return stack_.syscall(SYS_ftruncate, handle->fd, wanted.st_size);
    const long fd = stack_.syscall(SYS_openat, at.directory, name, O_WRONLY | O_NOFOLLOW);
    if (fd < 0) return fd;
    const long error = stack_.syscall(SYS_ftruncate, fd, wanted.st_size);
    stack_.syscall(SYS_close, fd);
    return error;
  }
  return 0;
}

void Server::set_attributes(Request& request, NodeTable::Id id, const Handle* handle,
                            const struct stat& wanted, int which) {
  const NodeTable::Node* node = nodes_.find(id);
  if (node == nullptr) return (void)request.error(-ESTALE);
  const long error = change_attributes(request, *node, handle, wanted, which);
  if (error < 0) return (void)request.error(error);
  answer_attributes(request, id, handle);
}

void Server::check_access(Request& request, NodeTable::Id id, int mask) {
  const NodeTable::Node* node = nodes_.find(id);
  if (node == nullptr) return (void)request.error(-ESTALE);
  const Place at = place(request, *node);
  request.error(
      stack_.syscall(SYS_faccessat2, at.directory, at.name.c_str(), mask, AT_SYMLINK_NOFOLLOW));
}

// -- changes to directories (tracefs instances, cgroups) -----------------------------------------

void Server::make_directory(Request& request, NodeTable::Id parent, const std::string& name,
                            mode_t mode) {
  const NodeTable::Node* above = nodes_.find(parent);
  if (above == nullptr) return (void)request.error(-ESTALE);
  if (parent == NodeTable::kRoot) return (void)request.error(-EPERM);
  const long error = stack_.syscall(SYS_mkdirat, above->directory, name.c_str(), mode);
  if (error < 0) return (void)request.error(error);
  answer_entry(request, parent, name);
}

void Server::remove(Request& request, NodeTable::Id parent, const std::string& name, int flags) {
  const NodeTable::Node* above = nodes_.find(parent);
  if (above == nullptr) return (void)request.error(-ESTALE);
  if (parent == NodeTable::kRoot) return (void)request.error(-EPERM);
  request.error(stack_.syscall(SYS_unlinkat, above->directory, name.c_str(), flags));
}

// -- open files ----------------------------------------------------------------------------------

std::shared_ptr<Handle> Server::handle(std::uint64_t number) const {
  const auto it = handles_.find(number);
  return it == handles_.end() ? nullptr : it->second;
}

Handle* Server::enter(Request& request, std::uint64_t number, int flags) {
  const auto found = handle(number);
  if (!found) {
    request.error(-EBADF);
    return nullptr;
  }
  if (found->broken) {
    request.error(-EIO);
    return nullptr;
  }
  request.works_in(found);
  // The host may have changed it by fcntl(2) since.
  if ((found->flags ^ flags) & O_NONBLOCK) {
    found->flags ^= O_NONBLOCK;
    stack_.syscall(SYS_fcntl, found->fd, F_SETFL, found->flags);
  }
  return found.get();
}

std::uint64_t Server::keep(Handle handle) {
  handles_.emplace(next_handle_, std::make_shared<Handle>(std::move(handle)));
  return next_handle_++;
}

void Server::keep_file(int fd, fuse_file_info& info) {
  const bool seekable = stack_.syscall(SYS_lseek, fd, 0, SEEK_CUR) >= 0;
  info.fh = keep({.fd = fd, .flags = info.flags, .seekable = seekable});
  info.direct_io = 1;  // no page cache: every read(2) asks the stack, and sizes do not matter
  info.nonseekable = !seekable;
}

void Server::drop(std::uint64_t number) {
  const auto found = handle(number);
  if (!found) return;
  handles_.erase(number);
  if (found->watch) found->watch->interrupt();
  if (found->fd >= 0) stack_.syscall(SYS_close, found->fd);
}

void Server::open(Request& request, NodeTable::Id id, fuse_file_info info) {
  const NodeTable::Node* node = nodes_.find(id);
  if (node == nullptr) return (void)request.error(-ESTALE);
  const Place at = place(request, *node);
  const long fd =
      stack_.syscall(SYS_openat, at.directory, at.name.c_str(), info.flags | O_NOFOLLOW);
  if (fd < 0) return (void)request.error(fd);
  keep_file(static_cast<int>(fd), info);
  if (!request.opened(info)) drop(info.fh);
}

void Server::create(Request& request, NodeTable::Id parent, const std::string& name, mode_t mode,
                    fuse_file_info info) {
  const NodeTable::Node* above = nodes_.find(parent);
  if (above == nullptr) return (void)request.error(-ESTALE);
  if (parent == NodeTable::kRoot) return (void)request.error(-EPERM);
  const long fd = stack_.syscall(SYS_openat, above->directory, name.c_str(),
                                 info.flags | O_CREAT | O_NOFOLLOW, mode);
  if (fd < 0) return (void)request.error(fd);
  keep_file(static_cast<int>(fd), info);
  fuse_entry_param entry = {};
  if (const long error = resolve(request, parent, name, entry); error < 0) {
    drop(info.fh);
    request.error(error);
  } else if (!request.created(entry, info)) {
    forget(entry.ino, 1);
    drop(info.fh);
  }
}

void Server::read(Request& request, std::uint64_t number, std::size_t size, off_t offset,
                  int flags) {
  Handle* const file = enter(request, number, flags);
  if (file == nullptr) return;
  char* const to = request.buffer(size);
  const long length = file->seekable ? stack_.syscall(SYS_pread64, file->fd, to, size, offset)
                                     : stack_.syscall(SYS_read, file->fd, to, size);
  if (length < 0) return (void)request.error(length);
  request.data({to, static_cast<std::size_t>(length)});
}

void Server::write(Request& request, std::uint64_t number, const std::string& bytes, off_t offset,
                   int flags) {
  Handle* const file = enter(request, number, flags);
  if (file == nullptr) return;
  // Not every file takes an offset: seq_open() forbids it to all that it opens. With O_APPEND the
  // host's offset is its idea of the size, which means nothing here.
  long length = -ESPIPE;
  if (file->seekable && !(file->flags & O_APPEND)) {
    length = stack_.syscall(SYS_pwrite64, file->fd, bytes.data(), bytes.size(), offset);
  }
  if (length == -ESPIPE) {
    length = stack_.syscall(SYS_write, file->fd, bytes.data(), bytes.size());
  }
  if (length < 0) return (void)request.error(length);
  request.written(static_cast<std::size_t>(length));
}

void Server::poll(Request& request, std::uint64_t number, unsigned events,
                  fuse_pollhandle* notify) {
  // Ours until a watch takes it; the worker may die before, then it is lost (24 bytes).
  const auto unused = defer([&] { fuse_pollhandle_destroy(notify); });
  const auto file = handle(number);
  if (!file || file->broken) return (void)request.poll(POLLERR);
  request.works_in(file);
  struct pollfd now = {file->fd, static_cast<short>(events), 0};
  const long ready = stack_.syscall(SYS_poll, &now, 1, 0);
  if (ready < 0) return (void)request.error(ready);
  // POLLERR and POLLHUP cannot be left out of a poll(2).
  constexpr unsigned kAlways = POLLERR | POLLHUP;
  const unsigned present =
      static_cast<unsigned short>(now.revents) | (file->signalled & (events | kAlways));
  file->signalled &= ~present;
  const unsigned missing = events & ~present;
  const bool waits = notify != nullptr && missing != 0 && !(present & kAlways);
  const bool same = file->watch && !file->watch->done() && file->watch->events() == missing;
  if (waits && !same) {
    if (file->watch) file->watch->interrupt();
    file->watch = std::make_shared<PollWatch>(stack_, shared_from_this(), file, missing,
                                              std::exchange(notify, nullptr));
    workers_->start(file->watch);
  }
  request.poll(present);
}

// -- directories ---------------------------------------------------------------------------------

void Server::open_directory(Request& request, NodeTable::Id id, fuse_file_info info) {
  const NodeTable::Node* node = nodes_.find(id);
  if (node == nullptr || node->directory < 0) return (void)request.error(-ESTALE);
  Handle directory;
  directory.device = node->identity.device;
  if (id == NodeTable::kRoot) {
    off_t next = 0;
    for (const char* name : {".", ".."}) {
      directory.entries.push_back({name, node->identity.inode, DT_DIR, ++next});
    }
    for (const char* name : kTopLevel) {
      directory.entries.push_back({name, kUnknownInode, DT_DIR, ++next});
    }
  } else {
    const long fd = stack_.syscall(SYS_openat, directory_of(request, *node), ".", O_RDONLY | O_DIRECTORY);
    if (fd < 0) return (void)request.error(fd);
    directory.fd = static_cast<int>(fd);
  }
  info.fh = keep(std::move(directory));
  if (!request.opened(info)) drop(info.fh);
}

long Server::next_entries(Handle& directory, char* buffer) {
  const long length = stack_.syscall(SYS_getdents64, directory.fd, buffer, kDirentsBuffer);
  if (length <= 0) return length;
  directory.entries = parse_dirents({buffer, static_cast<std::size_t>(length)});
  directory.delivered = 0;
  return length;
}

void Server::read_directory(Request& request, std::uint64_t number, std::size_t size,
                            off_t offset) {
  Handle* const directory = enter(request, number, 0);
  if (directory == nullptr) return;
  if (offset != directory->position) {  // seekdir(3), or a rewind
    directory->delivered = 0;
    if (directory->fd >= 0) {
      directory->entries.clear();
      const long error = stack_.syscall(SYS_lseek, directory->fd, offset, SEEK_SET);
      if (error < 0) return (void)request.error(error);
    } else {
      directory->delivered = std::min<std::size_t>(offset, directory->entries.size());
    }
    directory->position = offset;
  }
  std::string answer;
  for (char* const buffer = request.buffer(kDirentsBuffer);;) {
    if (directory->delivered == directory->entries.size()) {
      const long length = directory->fd >= 0 ? next_entries(*directory, buffer) : 0;
      if (length < 0 && answer.empty()) return (void)request.error(length);
      if (length <= 0) break;
    }
    DirectoryEntry entry = directory->entries[directory->delivered];
    entry.inode = inodes_.number(directory->device, entry.inode);
    if (!append_direntry(answer, size, entry)) break;
    directory->position = entry.next;
    ++directory->delivered;
  }
  request.data(answer);
}

void Server::release(Request& request, std::uint64_t number) {
  drop(number);
  request.done();
}

}  // namespace lkm::fuse
