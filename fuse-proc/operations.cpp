// SPDX-License-Identifier: GPL-2.0
//
// The callbacks that libfuse calls on the dispatcher fiber. Each copies what it was given, which is
// valid only during the call, and has a worker do the rest.
#include <fcntl.h>

#include <string>
#include <utility>
#include <vector>

#include "fuse-proc/server.hpp"

namespace lkm::fuse {

namespace {

// The largest read or write that is passed on in one piece. Longer ones the host splits.
constexpr unsigned kMaxTransfer = 128 << 10;

Server& server_of(fuse_req_t request) { return *static_cast<Server*>(fuse_req_userdata(request)); }

/// Has a worker call `work(server, request)`. The request keeps the server alive.
template <typename Work>
void start(fuse_req_t request, Interruptible interruptible, Work work) {
  Server& server = server_of(request);
  server.start(
      request, [&server, work = std::move(work)](Request& answer) { work(server, answer); },
      interruptible);
}

void on_init(void*, fuse_conn_info* connection) {
  connection->max_write = kMaxTransfer;
  connection->max_read = kMaxTransfer;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  start(request, Interruptible::kNo,
        [=, name = std::string(name)](Server& server, Request& answer) {
          server.look_up(answer, parent, name);
        });
}

void on_forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* nodes) {
  start(request, Interruptible::kNo,
        [nodes = std::vector(nodes, nodes + count)](Server& server, Request& answer) {
          for (const fuse_forget_data& node : nodes) server.forget(node.ino, node.nlookup);
          answer.none();
        });
}

void on_forget(fuse_req_t request, fuse_ino_t node, std::uint64_t lookups) {
  fuse_forget_data data = {.ino = node, .nlookup = lookups};
  on_forget_multi(request, 1, &data);
}

void on_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  start(request, Interruptible::kNo,
        [=, number = info != nullptr ? info->fh : 0](Server& server, Request& answer) {
          server.get_attributes(answer, node, server.handle(number).get());
        });
}

void on_setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which,
                fuse_file_info* info) {
  start(
      request, Interruptible::kNo,
      [=, st = *wanted, number = info != nullptr ? info->fh : 0](Server& server, Request& answer) {
        server.set_attributes(answer, node, server.handle(number).get(), st, which);
      });
}

void on_readlink(fuse_req_t request, fuse_ino_t node) {
  start(request, Interruptible::kNo,
        [=](Server& server, Request& answer) { server.read_link(answer, node); });
}

void on_access(fuse_req_t request, fuse_ino_t node, int mask) {
  start(request, Interruptible::kNo,
        [=](Server& server, Request& answer) { server.check_access(answer, node, mask); });
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  start(request, Interruptible::kNo,
        [=, name = std::string(name)](Server& server, Request& answer) {
          server.make_directory(answer, parent, name, mode);
        });
}

void remove(fuse_req_t request, fuse_ino_t parent, const char* name, int flags) {
  start(request, Interruptible::kNo,
        [=, name = std::string(name)](Server& server, Request& answer) {
          server.remove(answer, parent, name, flags);
        });
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, 0);
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, AT_REMOVEDIR);
}

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  start(request, Interruptible::kYes,
        [=, info = *info](Server& server, Request& answer) { server.open(answer, node, info); });
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* info) {
  start(request, Interruptible::kYes,
        [=, name = std::string(name), info = *info](Server& server, Request& answer) {
          server.create(answer, parent, name, mode, info);
        });
}

void on_read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* info) {
  start(request, Interruptible::kYes,
        [=, number = info->fh, flags = info->flags](Server& server, Request& answer) {
          server.read(answer, number, size, offset, flags);
        });
}

void on_write(fuse_req_t request, fuse_ino_t, const char* bytes, std::size_t size, off_t offset,
              fuse_file_info* info) {
  start(
      request, Interruptible::kYes,
      [=, bytes = std::string(bytes, size), number = info->fh, flags = info->flags](
          Server& server, Request& answer) { server.write(answer, number, bytes, offset, flags); });
}

void on_poll(fuse_req_t request, fuse_ino_t, fuse_file_info* info, fuse_pollhandle* notify) {
  start(request, Interruptible::kNo,
        [=, number = info->fh, events = info->poll_events](Server& server, Request& answer) {
          server.poll(answer, number, events, notify);
        });
}

void on_opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  start(request, Interruptible::kNo, [=, info = *info](Server& server, Request& answer) {
    server.open_directory(answer, node, info);
  });
}

void on_readdir(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset,
                fuse_file_info* info) {
  start(request, Interruptible::kNo, [=, number = info->fh](Server& server, Request& answer) {
    server.read_directory(answer, number, size, offset);
  });
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  start(request, Interruptible::kNo,
        [number = info->fh](Server& server, Request& answer) { server.release(answer, number); });
}

const fuse_lowlevel_ops& operations() {
  // What is not here the host kernel is told once: no flush, fsync, extended attributes, links,
  // ioctl.
  static const fuse_lowlevel_ops ops = {
      .init = on_init,
      .lookup = on_lookup,
      .forget = on_forget,
      .getattr = on_getattr,
      .setattr = on_setattr,
      .readlink = on_readlink,
      .mkdir = on_mkdir,
      .unlink = on_unlink,
      .rmdir = on_rmdir,
      .open = on_open,
      .read = on_read,
      .write = on_write,
      .release = on_release,
      .opendir = on_opendir,
      .readdir = on_readdir,
      .releasedir = on_release,
      .access = on_access,
      .create = on_create,
      .poll = on_poll,
      .forget_multi = on_forget_multi,
  };
  return ops;
}

}  // namespace

fuse_session* new_session(Server* server) {
  char name[] = "lkm-run";
  char option[] = "-o";
  // The type is kMountType. max_read is that of on_init().
  char options[] = "fsname=lkm-run,subtype=lkm-run,max_read=131072";
  char* argv[] = {name, option, options, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(3, argv);
  fuse_session* const session = fuse_session_new(&arguments, &operations(), sizeof(fuse_lowlevel_ops), server);
  fuse_opt_free_args(&arguments);
  return session;
}

}  // namespace lkm::fuse
