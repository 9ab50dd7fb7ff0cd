// SPDX-License-Identifier: GPL-2.0
//
// Server: what a FUSE session serves. Its operations are system calls of the stack; each runs on a
// worker fiber and answers when it is through, so that one blocked read holds up nothing else.
//
// All of it runs on fibers of one stack, one at a time, and no table is left half-changed at a
// system call: there are no locks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "fuse-proc/handle.hpp"
#include "fuse-proc/libfuse.hpp"
#include "fuse-proc/nodes.hpp"
#include "fuse-proc/request.hpp"
#include "fuse-proc/worker_pool.hpp"
#include "libos-runtime/host/stack.hpp"

namespace lkm::fuse {

class Server;
/// A session that is not mounted yet, whose operations are those of `server`; nullptr: for mounting only. nullptr when
/// libfuse cannot.
fuse_session* new_session(Server* server);

class Server : public std::enable_shared_from_this<Server> {
 public:
  /// `root` is an O_PATH descriptor of the stack's "/". `self` and `thread_self` are where
  /// /proc/self and /proc/thread-self lead: a task of the stack that lives as long as the mount.
  /// `on_drained` is called when, after stop(), all work has ended.
  Server(Stack& stack, int root, const struct stat& root_stat, std::string self,
         std::string thread_self, std::function<void()> on_drained);
  ~Server();

  /// Takes over a session that new_session() made for this Server.
  void adopt(fuse_session* session) { session_ = session; }
  [[nodiscard]] fuse_session* session() const { return session_; }

  /// See FuseProc.
  void follow_netns(std::function<std::string(pid_t)> task_of) { task_of_ = std::move(task_of); }

  void stop() { workers_->stop(); }
  [[nodiscard]] bool drained() const { return workers_->empty(); }

  /// Has a worker do `work`, which answers `request`.
  void start(fuse_req_t request, Request::Work work, Interruptible interruptible);

  // The operations, on a worker.
  void look_up(Request& request, NodeTable::Id parent, const std::string& name) {
    answer_entry(request, parent, name);
  }
  void forget(NodeTable::Id id, std::uint64_t lookups);
  void get_attributes(Request& request, NodeTable::Id id, const Handle* handle) {
    answer_attributes(request, id, handle);
  }
  void set_attributes(Request& request, NodeTable::Id id, const Handle* handle,
                      const struct stat& wanted, int which);
  void read_link(Request& request, NodeTable::Id id);
  void check_access(Request& request, NodeTable::Id id, int mask);
  void make_directory(Request& request, NodeTable::Id parent, const std::string& name, mode_t mode);
  void remove(Request& request, NodeTable::Id parent, const std::string& name, int flags);
  void open(Request& request, NodeTable::Id id, fuse_file_info info);
  void create(Request& request, NodeTable::Id parent, const std::string& name, mode_t mode,
              fuse_file_info info);
  void read(Request& request, std::uint64_t handle, std::size_t size, off_t offset, int flags);
  void write(Request& request, std::uint64_t handle, const std::string& bytes, off_t offset,
             int flags);
  void poll(Request& request, std::uint64_t handle, unsigned events, fuse_pollhandle* notify);
  void open_directory(Request& request, NodeTable::Id id, fuse_file_info info);
  void read_directory(Request& request, std::uint64_t handle, std::size_t size, off_t offset);
  void release(Request& request, std::uint64_t handle);

  /// Null for a number that is not in use.
  [[nodiscard]] std::shared_ptr<Handle> handle(std::uint64_t number) const;

 private:
  /// How a system call names a node: a directory from itself, all else from its parent.
  struct Place {
    int directory;
    std::string name;
  };

  static Place place(const Request& request, const NodeTable::Node& node);
  /// The descriptor of a directory, as the caller's netns has it.
  static int directory_of(const Request& request, const NodeTable::Node& node);
  long stat_at(const Place& place, struct stat& st);
  /// `st` with the inode number that the host sees.
  struct stat shown(struct stat st);
  /// Looks the name up and counts that; 0 or -errno.
  long resolve(const Request& request, NodeTable::Id parent, const std::string& name, fuse_entry_param& entry);
  void answer_entry(Request& request, NodeTable::Id parent, const std::string& name);
  void answer_attributes(Request& request, NodeTable::Id id, const Handle* handle);
  long change_attributes(const Request& request, const NodeTable::Node& node, const Handle* handle,
                         const struct stat& wanted, int which);

  std::uint64_t keep(Handle handle);
  void keep_file(int fd, fuse_file_info& info);
  void drop(std::uint64_t number);
  /// The handle, for work in its file: the request holds it, not a frame, which an oops would not
  /// unwind. Null when the request was answered with an error instead.
  Handle* enter(Request& request, std::uint64_t number, int flags);
  long next_entries(Handle& directory, char* buffer);

  Stack& stack_;
  std::string self_;
  std::string thread_self_;
  std::function<std::string(pid_t)> task_of_;
  fuse_session* session_ = nullptr;
  std::shared_ptr<WorkerPool> workers_;
  NodeTable nodes_;
  InodeNumbers inodes_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Handle>> handles_;
  std::uint64_t next_handle_ = 1;
};

}  // namespace lkm::fuse
