// SPDX-License-Identifier: GPL-2.0
//
// What each caught call comes to. Most run in the stack as they are, with the stack's descriptor for the
// program's; what follows are the exceptions.
#include <asm-generic/ioctls.h>
#include <asm-generic/sockios.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "toolkit/base/defer.hpp"
#include "toolkit/exec/filter.hpp"
#include "toolkit/exec/thread.hpp"

namespace lkm::exec {
namespace {

constexpr std::size_t kSendFileChunk = std::size_t{128} << 10;  // bytes

enum class Direction { kNone, kReceives, kSends };

Direction direction(long number) {
  switch (number) {
    case SYS_read:
    case SYS_readv:
    case SYS_preadv2:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4: return Direction::kReceives;
    case SYS_write:
    case SYS_writev:
    case SYS_pwritev2:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_connect: return Direction::kSends;
    default: return Direction::kNone;
  }
}

/// Whether a write that met EPIPE raises SIGPIPE.
bool raises_sigpipe(const seccomp_data& call) {
  switch (call.nr) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwritev2: return true;
    case SYS_sendto:
    case SYS_sendmmsg: return (call.args[3] & MSG_NOSIGNAL) == 0;
    case SYS_sendmsg: return (call.args[2] & MSG_NOSIGNAL) == 0;
    default: return false;
  }
}

/// Requests about the descriptor or its file, which are the host's in both respects.
bool is_about_descriptor(unsigned long request) {
  switch (request) {
    case FIONBIO:
    case FIOASYNC:
    case FIOCLEX:
    case FIONCLEX:
    case FIOSETOWN:
    case FIOGETOWN:
    case SIOCSPGRP:
    case SIOCGPGRP: return true;
    default: return false;
  }
}

}  // namespace

Result<Thread::Target> Thread::target(int number) {
  LKM_TRY(UniqueFd end, process_->borrow(number));
  auto [socket, relayed] = programs_.find(socket_inode(end.get()));
  return Target{std::move(socket), relayed, std::move(end)};
}

Thread::Outcome Thread::pass() {
  session_->notifications.pass(call_.id);
  return std::nullopt;
}

Thread::Outcome Thread::dispatch() {
  switch (call_.data.nr) {
    case SYS_socket: return open_socket();
    case SYS_sendfile: return send_file();
    case SYS_splice: {
      // Bytes taken from a pipe cannot be put back when the socket has no room. Programs then copy.
      const auto in = target(int(arg(0)));
      const auto out = target(int(arg(2)));
      return (in && in->socket) || (out && out->socket) ? Outcome(-EINVAL) : pass();
    }
    default: break;
  }
  auto on = target(int(arg(0)));
  if (!on && on.error().errno_value() == EBADF) return -EBADF;
  if (on && on->relayed) return on_relay(std::move(*on));
  if (on && on->socket) return on_socket(std::move(*on));
  const bool about_device = call_.data.nr == SYS_ioctl && arg(1) >= kFirstDeviceRequest && arg(1) <= kLastDeviceRequest;
  if (about_device && on && socket_inode(on->end.get()) != 0) return device_request();
  return pass();
}

Thread::Outcome Thread::on_socket(Target target) {
  switch (call_.data.nr) {
    case SYS_accept:
    case SYS_accept4: return accept(target);
    case SYS_dup: return duplicate(target, 0, false);
    case SYS_fcntl: return duplicate(target, int(arg(2)), arg(1) == F_DUPFD_CLOEXEC);
    case SYS_dup2: return move(target, int(arg(1)), false);
    case SYS_dup3: return move(target, int(arg(1)), (arg(2) & O_CLOEXEC) != 0);
    case SYS_ioctl:
      if (is_about_descriptor(arg(1))) return pass();
      // It makes a descriptor of the stack, which means nothing to the program.
      if (arg(1) == SIOCGSKNS) return -EOPNOTSUPP;
      break;
    case SYS_setsockopt:
      // Its pages would have to be the stack's.
      if (arg(1) == SOL_SOCKET && arg(2) == SO_ZEROCOPY) return -EOPNOTSUPP;
      break;
    default: break;
  }
  unsigned long args[6];
  std::copy_n(call_.data.args, 6, args);
  const long result = run_on(target, call_.data.nr, args);
  if (result == -EPIPE && raises_sigpipe(call_.data)) ::syscall(SYS_tgkill, pid(), tid_, SIGPIPE);
  return result;
}

/// Data goes through the descriptor itself; what is about the socket is the stack's.
Thread::Outcome Thread::on_relay(Target target) {
  switch (call_.data.nr) {
    case SYS_bind:
    case SYS_connect:
    case SYS_listen:
    case SYS_getsockname:
    case SYS_getpeername:
    case SYS_getsockopt:
    case SYS_setsockopt: {
      unsigned long args[6] = {static_cast<unsigned long>(target.socket->fd.get())};
      std::copy_n(call_.data.args + 1, 5, args + 1);
      return call_for(call_.data.nr, args);
    }
    default: return pass();
  }
}

long Thread::call_for(long number, const unsigned long args[6], Memory memory) {
  Stack& stack = programs_.stack();
  for (;;) {
    const long result = memory == Memory::kProgram ? stack.syscall_for(*this, number, args)
                                                   : stack.syscall_raw(number, args);
    if (!to_be_restarted(result)) return result;
  }
}

long Thread::run_on(Target& target, long number, const unsigned long (&args)[6], Memory memory) {
  Socket& socket = *target.socket;
  // O_NONBLOCK is the placeholder's, where fcntl(2) sets it uncaught.
  const bool nonblocking = (::fcntl(target.end.get(), F_GETFL) & O_NONBLOCK) != 0;
  if (nonblocking != socket.nonblocking) {
    socket.fd.call(SYS_fcntl, F_SETFL, O_RDWR | (nonblocking ? O_NONBLOCK : 0));
    socket.nonblocking = nonblocking;
  }
  programs_.count(socket);
  const Direction way = direction(number);
  socket.receiving += way == Direction::kReceives;
  socket.sending += way == Direction::kSends;
  const auto done = defer([&] {
    socket.receiving -= way == Direction::kReceives;
    socket.sending -= way == Direction::kSends;
  });
  unsigned long with[6] = {static_cast<unsigned long>(socket.fd.get())};
  std::copy(args + 1, args + 6, with + 1);
  const long result = call_for(number, with, memory);
  if (way == Direction::kReceives) socket.edge_due = true;
  programs_.show(socket, target.end.get());
  return result;
}

Thread::Outcome Thread::place(StackFd fd, bool nonblocking, bool close_on_exec) {
  auto adopted = programs_.adopt(std::move(fd), nonblocking);
  if (!adopted) return -adopted.error().errno_value();
  auto& [socket, end] = *adopted;
  const int number = process_->unused_number(0);
  const int error = session_->notifications.place(call_.id, end.get(), number, close_on_exec, true);
  if (error == 0) {
    socket->places.emplace_back(process_, number);
    return std::nullopt;
  }
  process_->released(number);
  return error == -EBADF ? -EMFILE : error;
}

Thread::Outcome Thread::open_socket() {
  Stack& stack = programs_.stack();
  const auto type = int(arg(1));
  const long fd = stack.syscall(SYS_socket, arg(0), type & ~SOCK_CLOEXEC, arg(2));
  if (fd < 0) return fd;
  return place(StackFd(stack, int(fd)), (type & SOCK_NONBLOCK) != 0, (type & SOCK_CLOEXEC) != 0);
}

Thread::Outcome Thread::accept(Target& target) {
  const unsigned long flags = call_.data.nr == SYS_accept4 ? arg(3) : 0;
  const unsigned long args[6] = {0, arg(1), arg(2), flags};
  const long fd = run_on(target, SYS_accept4, args);
  if (fd < 0) return fd;
  return place(StackFd(programs_.stack(), int(fd)), (flags & SOCK_NONBLOCK) != 0, (flags & SOCK_CLOEXEC) != 0);
}

Thread::Outcome Thread::duplicate(const Target& target, int from, bool close_on_exec) {
  if (from < 0) return -EINVAL;
  const int number = process_->unused_number(from);
  const int error = session_->notifications.place(call_.id, target.end.get(), number, close_on_exec, true);
  if (error == 0) {
    target.socket->places.emplace_back(process_, number);
    return std::nullopt;
  }
  return error == -EBADF ? -EMFILE : error;
}

/// dup2() of a socket. Under a low number its calls will not be caught, so a connection gets a relay there.
Thread::Outcome Thread::move(const Target& target, int to, bool close_on_exec) {
  Socket& socket = *target.socket;
  if (to < 0 || to >= kFirstFd) return pass();
  int type = 0;
  socklen_t size = sizeof(type);
  sockaddr_storage peer{};
  socklen_t peer_size = sizeof(peer);
  socket.fd.call(SYS_getsockopt, SOL_SOCKET, SO_TYPE, &type, &size);
  if (type != SOCK_STREAM || socket.fd.call(SYS_getpeername, &peer, &peer_size) != 0) return pass();

  const auto end = programs_.relay(target.socket);
  if (!end) return -end.error().errno_value();
  const int error = session_->notifications.place(call_.id, end->get(), to, close_on_exec, true);
  if (error != 0) return error;
  socket.relay_place = {process_, to};
  return std::nullopt;
}

/// ioctl() about a network device on a socket of the host: if_nametoindex(3) uses one of AF_UNIX. The kernel
/// looks at the socket's netns only.
Thread::Outcome Thread::device_request() {
  Stack& stack = programs_.stack();
  const long fd = stack.syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return fd;
  const StackFd socket(stack, int(fd));
  const unsigned long args[6] = {static_cast<unsigned long>(fd), arg(1), arg(2)};
  return call_for(SYS_ioctl, args);
}

/// sendfile() from a file of the host: bytes go through a buffer of the stack. Only what the socket took is
/// taken from the file.
Thread::Outcome Thread::send_file() {
  const auto in = target(int(arg(1)));
  if (!in) return -in.error().errno_value();
  auto out = target(int(arg(0)));
  if (!out) return -out.error().errno_value();
  if (!out->socket || out->relayed) return in->socket ? Outcome(-EINVAL) : pass();
  struct stat status {};
  if (in->socket || ::fstat(in->end.get(), &status) != 0 || !S_ISREG(status.st_mode)) return -EINVAL;

  auto* const offset = reinterpret_cast<void*>(arg(2));
  off_t at = 0;
  if (offset == nullptr) {
    at = ::lseek(in->end.get(), 0, SEEK_CUR);
  } else if (read(&at, offset, sizeof(at)) != 0) {
    return -EFAULT;
  }
  if (at < 0) return -EINVAL;

  std::vector<char> buffer(std::min<std::size_t>(arg(3), kSendFileChunk));
  std::size_t total = 0;
  long error = 0;
  while (total < arg(3)) {
    const auto wanted = std::min(buffer.size(), arg(3) - total);
    const ssize_t got = ::pread(in->end.get(), buffer.data(), wanted, at + off_t(total));
    if (got <= 0) {
      error = got < 0 ? -errno : 0;
      break;
    }
    const std::size_t sent_then = total + std::size_t(got);
    const bool more = sent_then < arg(3) && at + off_t(sent_then) < status.st_size;
    const unsigned long args[6] = {0, reinterpret_cast<unsigned long>(buffer.data()), std::size_t(got),
                                   static_cast<unsigned long>(more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL)};
    const long sent = run_on(*out, SYS_sendto, args, Memory::kStack);
    if (sent < 0) {
      error = sent;
      break;
    }
    total += std::size_t(sent);
    if (sent < got) break;
  }
  at += off_t(total);
  if (offset == nullptr) {
    ::lseek(in->end.get(), at, SEEK_SET);
  } else if (write(offset, &at, sizeof(at)) != 0) {
    return -EFAULT;
  }
  if (total == 0 && error == -EPIPE) ::syscall(SYS_tgkill, pid(), tid_, SIGPIPE);
  return total > 0 ? long(total) : error;
}

}  // namespace lkm::exec
