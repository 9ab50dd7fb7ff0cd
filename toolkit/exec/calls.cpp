// SPDX-License-Identifier: GPL-2.0
//
// What each caught call comes to. Most run in the stack as they are, with the stack's descriptor
// for the program's; what follows are the exceptions.
#include <asm-generic/ioctls.h>
#include <asm-generic/sockios.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

#include "toolkit/base/defer.hpp"
#include "toolkit/exec/filter.hpp"
#include "toolkit/exec/netlink_requests.hpp"
#include "toolkit/exec/thread.hpp"

namespace lkm::exec {
namespace {

// SOL_SOCKET options, of both ABIs of time_t.
constexpr int kOwnOptions[] = {SO_RCVLOWAT, SO_RCVTIMEO, SO_SNDTIMEO, 66 /* SO_RCVTIMEO_NEW */,
                               67 /* SO_SNDTIMEO_NEW */};
constexpr std::size_t kMostOfOption = 16;  // bytes

constexpr std::uint64_t kLargestDatagram = 65536 + kPerDatagram;

/// Whether what socket(2) makes of these is TCP's, so that its data is a stream of bytes and nothing else.
bool carries_bytes(int domain, int type, int protocol) {
  constexpr int kTypes = 0xf;  // the rest are flags
  return (domain == AF_INET || domain == AF_INET6) && (type & kTypes) == SOCK_STREAM &&
         (protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

/// Pointers that mean what they say, for calls that are to be interrupted as a program's are.
class OwnMemory final : public UserMemory {
 public:
  std::size_t read(void* to, const void* from, std::size_t size) noexcept override {
    std::memcpy(to, from, size);
    return 0;
  }
  std::size_t write(void* to, const void* from, std::size_t size) noexcept override {
    std::memcpy(to, from, size);
    return 0;
  }
};

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
    case SYS_accept4:
      return Direction::kReceives;
    case SYS_write:
    case SYS_writev:
    case SYS_pwritev2:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
    case SYS_connect:
      return Direction::kSends;
    default:
      return Direction::kNone;
  }
}

/// Whether a write that met EPIPE raises SIGPIPE.
bool raises_sigpipe(const seccomp_data& call) {
  switch (call.nr) {
    case SYS_write:
    case SYS_writev:
    case SYS_pwritev2:
      return true;
    case SYS_sendto:
    case SYS_sendmmsg:
      return (call.args[3] & MSG_NOSIGNAL) == 0;
    case SYS_sendmsg:
      return (call.args[2] & MSG_NOSIGNAL) == 0;
    default:
      return false;
  }
}

/// Tables of xtables (setsockopt(2)), and the requests of ioctl(2) that make links, addresses, routes and neighbours.
bool adds_to_network(const seccomp_data& call) {
  // IPT_SO_SET_REPLACE (of IPv6 as well), ARPT_SO_SET_REPLACE, EBT_SO_SET_ENTRIES
  constexpr unsigned long kTables[] = {64, 96, 128};
  if (call.nr == SYS_setsockopt)
    return (call.args[1] == SOL_IP || call.args[1] == SOL_IPV6) && std::ranges::find(kTables, call.args[2]) != std::end(kTables);
  if (call.nr != SYS_ioctl) return false;
  switch (call.args[1]) {
    case SIOCADDRT:
    case SIOCSIFADDR:
    case SIOCSARP:
    case SIOCADDMULTI:
    case SIOCADDDLCI:
    case SIOCBRADDBR:
    case SIOCBRADDIF:
      return true;
    default:
      return call.args[1] >= SIOCDEVPRIVATE && call.args[1] <= kLastDeviceRequest;
  }
}

/// Whether an option of a connection may be set before what was written is in it. Of those that programs set on each
/// connection: what is written after TCP_NODELAY takes along what waits, and the rest is about receiving, or when idle.
bool may_come_early(const seccomp_data& call) {
  if (call.nr != SYS_setsockopt) return false;
  if (call.args[1] == SOL_SOCKET) return call.args[2] == SO_KEEPALIVE || call.args[2] == SO_RCVBUF;
  if (call.args[1] != IPPROTO_TCP) return false;
  switch (call.args[2]) {
    case TCP_NODELAY:
    case TCP_QUICKACK:
    case TCP_KEEPIDLE:
    case TCP_KEEPINTVL:
    case TCP_KEEPCNT:
      return true;
    default:
      return false;
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
    case SIOCGPGRP:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<Thread::Target> Thread::target(int number) {
  LKM_TRY(UniqueFd end, process_->borrow(number));
  auto socket = programs_.find(socket_inode(end.get()));
  return Target{std::move(socket), std::move(end)};
}

Thread::Outcome Thread::pass() {
  session_->notifications.pass(call_.id);
  return std::nullopt;
}

/// Numbers that have another file for the time of a call get their own back.
void Thread::give_back_numbers() {
  for (const Process::Borrowed& one : std::exchange(process_->borrowed, {})) {
    const auto there = process_->borrow(one.number);
    if (!there || inode_of(there->get()) != one.there_now) continue;  // closed meanwhile, or another file
    session_->notifications.replace(call_.id, one.descriptor.get(), one.number, one.close_on_exec);
  }
}

Thread::Outcome Thread::dispatch() {
  give_back_numbers();
  switch (call_.data.nr) {
    case SYS_socket:
      return open_socket();
    case SYS_mmap:
      return map();
    case SYS_setns:
      return enter_netns();
    case SYS_unshare:
      return make_netns();
    case SYS_mount:
      return mount();
    case SYS_umount2:
      return unmount();
    case SYS_sendfile:
      return send_file();
    case SYS_splice:
      return splice();
    default:
      break;
  }
  auto on = target(int(arg(0)));
  if (!on && on.error().errno_value() == EBADF) return -EBADF;
  if (on && on->socket)
    return on->socket->use == Use::kConnection ? on_connection(*on) : on_socket(*on);
  if (call_.data.nr == SYS_sendmsg || call_.data.nr == SYS_sendmmsg) follow_descriptors();
  const bool about_device =
      call_.data.nr == SYS_ioctl && arg(1) >= kFirstDeviceRequest && arg(1) <= kLastDeviceRequest;
  if (about_device && on && socket_inode(on->end.get()) != 0) return device_request();
  return pass();
}

Thread::Outcome Thread::on_socket(Target& target) {
  const bool tcp = target.socket->use != Use::kMessages;
  switch (call_.data.nr) {
    case SYS_bind:
    case SYS_listen:
      catch_up();
      break;
    case SYS_connect:
      if (tcp && arrival_.ahead) {
        programs_.forget_closed_listeners();  // for less
      } else {
        catch_up();
      }
      return connect(target);
    case SYS_accept:
    case SYS_accept4:
      return accept(target);
    // TCP sockets may be anywhere.
    case SYS_dup:
      return tcp ? pass() : duplicate(target, 0, false);
    case SYS_fcntl:
      return tcp ? pass() : duplicate(target, int(arg(2)), arg(1) == F_DUPFD_CLOEXEC);
    case SYS_dup2:
    case SYS_dup3:
      if (!is_caught(int(arg(1)))) programs_.begin_to_carry_messages(*target.socket, target.end.get());
      return pass();
    case SYS_ioctl:
      if (is_about_descriptor(arg(1))) return pass();
      // It makes a descriptor of the stack, which means nothing to the program.
      if (arg(1) == SIOCGSKNS) return -EOPNOTSUPP;
      break;
    case SYS_getsockopt:
      if (arg(1) == SOL_PACKET) {
        if (const auto done = on_packet_option(target)) return *done;
      }
      break;
    case SYS_setsockopt:
      // Its pages would have to be the stack's.
      if (arg(1) == SOL_SOCKET && arg(2) == SO_ZEROCOPY) return -EOPNOTSUPP;
      // These speak in control messages, which a connection's descriptor does not carry.
      if (tcp && (arg(1) == SOL_TLS || (arg(1) == IPPROTO_TCP && arg(2) == TCP_INQ)))
        return -EOPNOTSUPP;
      if (arg(1) == SOL_PACKET) {
        if (const auto done = on_packet_option(target)) return *done;
      }
      if (arg(1) == SOL_SOCKET && (arg(2) == SO_RCVBUFFORCE || arg(2) == SO_SNDBUFFORCE)) return set_buffer(target);
      break;
    default:
      break;
  }
  Account& account = *session_->account;
  const bool fills = direction(call_.data.nr) == Direction::kSends;
  if (fills) catch_up();
  if (fills && !programs_.may_fill(account, tid_)) return -ENOBUFS;
  if (fills && target.socket->netlink) {
    if (const auto done = on_requests(target)) return *done;
  }
  if (adds_to_network(call_.data) && !programs_.memory().has_for_network(tid_, arg(4))) return -ENOBUFS;
  unsigned long args[6];
  std::copy_n(call_.data.args, 6, args);
  long result = run_on(target, call_.data.nr, args);
  if (fills && result >= 0) programs_.filled(account, call_.data.nr == SYS_sendmmsg ? arg(2) * kLargestDatagram : std::uint64_t(result) + kPerDatagram);
  if (call_.data.nr == SYS_listen && result == 0 && tcp) {
    if (auto listens = programs_.begin_to_listen(*target.socket, target.end.get()); !listens)
      return -listens.error().errno_value();
  }
  if (call_.data.nr == SYS_setsockopt && result == 0) give_own_option(target);
  if (call_.data.nr == SYS_getsockopt && result == 0) tell_error(target);
  const bool sends = direction(call_.data.nr) == Direction::kSends;
  if (sends && target.socket->use == Use::kUnconnected) result = show_connection(target, result);  // MSG_FASTOPEN
  if (result == -EPIPE && raises_sigpipe(call_.data)) ::syscall(SYS_tgkill, pid(), tid_, SIGPIPE);
  return result;
}

/// Its data flows through the descriptor. What is asked about it is asked of the stack, once that
/// has all that the program wrote.
Thread::Outcome Thread::on_connection(Target& target) {
  Socket& socket = *target.socket;
  switch (call_.data.nr) {
    case SYS_getsockname:
    case SYS_getpeername:
      return on_socket(target);
    case SYS_bind:
    case SYS_connect:
    case SYS_listen:
    case SYS_accept:
    case SYS_accept4:
    case SYS_getsockopt:
    case SYS_setsockopt:
      if (!may_come_early(call_.data)) programs_.flush(socket);
      return on_socket(target);
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg: {
      const bool urgent = (arg(call_.data.nr == SYS_sendmsg ? 2 : 3) & MSG_OOB) != 0;
      if (!urgent && !gives_address()) return pass();
      if (const long error = drain(target); error != 0) return error;
      return on_socket(target);
    }
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg: {
      const unsigned long flags = arg(call_.data.nr == SYS_recvmsg ? 2 : 3);
      return (flags & MSG_ERRQUEUE) != 0 ? on_socket(target) : pass();
    }
    case SYS_ioctl:
      if (arg(1) == FIONREAD) return pass();
      programs_.flush(socket);
      return on_socket(target);
    case SYS_shutdown: {
      if (arg(1) != SHUT_RD) socket.shut_by_program = true;
      if (::shutdown(target.end.get(), int(arg(1))) != 0) return -errno;
      if (arg(1) != SHUT_RD) socket.stream->no_more_out();
      programs_.flush(socket);
      return 0;
    }
    default:
      return pass();
  }
}

/// Waits, if the program does, until all that it wrote is in the connection.
long Thread::drain(Target& target) {
  Socket& socket = *target.socket;
  const bool waits = (::fcntl(target.end.get(), F_GETFL) & O_NONBLOCK) == 0;
  for (;;) {
    programs_.flush(socket);
    if (socket.use != Use::kConnection || !socket.stream->has_unsent()) return 0;
    if (!waits) return -EAGAIN;
    pollfd room{.fd = socket.fd.get(), .events = POLLOUT, .revents = 0};
    const unsigned long args[6] = {reinterpret_cast<unsigned long>(&room), 1,
                                   static_cast<unsigned long>(-1)};
    if (const long ready = call_for(SYS_poll, args, Memory::kStack); ready < 0) return ready;
  }
}

long Thread::call_for(long number, const unsigned long args[6], Memory memory) {
  Stack& stack = programs_.stack();
  for (;;) {
    OwnMemory own;
    const long result = stack.syscall_for(memory == Memory::kProgram ? static_cast<UserMemory&>(*this) : own, number, args);
    if (!to_be_restarted(result)) return result;
  }
}

/// O_NONBLOCK is the placeholder's, where fcntl(2) sets it uncaught. True if the socket's was another.
bool Thread::follow_flags(Target& target) {
  Socket& socket = *target.socket;
  const bool nonblocking = (::fcntl(target.end.get(), F_GETFL) & O_NONBLOCK) != 0;
  if (nonblocking == socket.nonblocking) return false;
  socket.fd.call(SYS_fcntl, F_SETFL, O_RDWR | (nonblocking ? O_NONBLOCK : 0));
  socket.nonblocking = nonblocking;
  return true;
}

long Thread::run_on(Target& target, long number, const unsigned long (&args)[6], Memory memory) {
  Socket& socket = *target.socket;
  const Direction way = direction(number);
  // Whether it may wait matters to accept(2) only when it would have to.
  const bool asks_later = socket.nonblocking && number == SYS_accept4;
  if (way != Direction::kNone && !asks_later) follow_flags(target);
  programs_.count(socket);
  unsigned long with[6] = {static_cast<unsigned long>(socket.fd.get())};
  std::copy(args + 1, args + 6, with + 1);
  long result = 0;
  {
    socket.receiving += way == Direction::kReceives;
    socket.sending += way == Direction::kSends;
    const auto done = defer([&] {
      socket.receiving -= way == Direction::kReceives;
      socket.sending -= way == Direction::kSends;
    });
    if (socket.carrier && way == Direction::kReceives) {
      socket.carrier->take_back(target.end.get());
    } else if (socket.carrier) {
      programs_.send_messages(socket);
    }
    result = call_for(number, with, memory);
    if (asks_later && result == -EAGAIN && follow_flags(target)) result = call_for(number, with, memory);
  }
  if (way == Direction::kReceives) socket.edge_due = true;
  if (socket.use == Use::kMessages || socket.use == Use::kListening)
    programs_.show(socket, target.end.get());
  return result;
}

Thread::Outcome Thread::place(StackFd fd, Use use, bool nonblocking, bool close_on_exec,
                              const Socket* accepted_from) {
  auto adopted = programs_.adopt(std::move(fd), use, nonblocking, session_->account);
  if (!adopted) return -adopted.error().errno_value();
  auto& [socket, end] = *adopted;
  if (accepted_from != nullptr) {
    socket->own_options = accepted_from->own_options;
    for (const auto& [option, value] : socket->own_options) {
      ::setsockopt(end.get(), SOL_SOCKET, option, value.data(), socklen_t(value.size()));
    }
  }
  return give_number(socket, end.get(), 0, close_on_exec);
}

/// Ends the call with a descriptor for the socket: one from `from` on where its calls are to be
/// caught, else the lowest. The latter also when all of the others are in use.
Thread::Outcome Thread::give_number(const std::shared_ptr<Socket>& socket, int end, int from,
                                    bool close_on_exec) {
  int number = Notifications::kLowest;
  if (socket->use == Use::kMessages && (number = process_->unused_number(from)) < 0) {
    if (from > 0) return number;
    return give_lowest(socket, end, close_on_exec);
  }
  const int placed = session_->notifications.place(call_.id, end, number, close_on_exec);
  if (placed >= 0) {
    socket->places.emplace_back(process_, placed);
    return std::nullopt;
  }
  if (number >= 0) process_->released(number);
  if (placed == -EBADF && number >= 0 && from == 0)  // its limit is lower (RLIMIT_NOFILE)
    return give_lowest(socket, end, close_on_exec);
  return placed == -EBADF ? -EMFILE : placed;
}

/// The same with the lowest number, where its calls are not caught.
Thread::Outcome Thread::give_lowest(const std::shared_ptr<Socket>& socket, int end, bool close_on_exec) {
  programs_.begin_to_carry_messages(*socket, end);
  const int placed = session_->notifications.place(call_.id, end, Notifications::kLowest, close_on_exec);
  if (placed < 0) return placed == -EBADF ? -EMFILE : placed;
  socket->places.emplace_back(process_, placed);
  return std::nullopt;
}

/// For calls to which it matters what else there is: what programs closed before is closed.
void Thread::catch_up() {
  if (arrival_.ahead) programs_.stack().poll_host();
  programs_.look_at_host();
}

bool Thread::may_have_socket() {
  const Account& account = *session_->account;
  if (account.sockets >= account.limits().sockets) catch_up();
  return session_->account->may_have_socket(tid_) && programs_.memory().has_for_socket(tid_);
}

Thread::Outcome Thread::open_socket() {
  if (!may_have_socket()) return -ENFILE;
  if (!programs_.may_fill(*session_->account, tid_)) return -ENOBUFS;
  Stack& stack = programs_.stack();
  const auto type = int(arg(1));
  const Use use = carries_bytes(int(arg(0)), type, int(arg(2))) ? Use::kUnconnected : Use::kMessages;
  const long fd = stack.syscall(SYS_socket, arg(0), type & ~SOCK_CLOEXEC, arg(2));
  if (fd < 0) return fd;
  StackFd socket(stack, int(fd));
  return place(std::move(socket), use, (type & SOCK_NONBLOCK) != 0, (type & SOCK_CLOEXEC) != 0);
}

Thread::Outcome Thread::connect(Target& target) {
  unsigned long args[6];
  std::copy_n(call_.data.args, 6, args);
  const long result = run_on(target, SYS_connect, args);
  return target.socket->use == Use::kUnconnected ? show_connection(target, result) : result;
}

/// To where the second and third arguments of the call point.
bool Thread::write_address(const void* address, std::size_t size, socklen_t full_size) {
  if (!still_calls()) return false;
  const std::array<iovec, 2> local{{{const_cast<void*>(address), size}, {&full_size, sizeof full_size}}};
  const std::array<iovec, 2> remote{{{reinterpret_cast<void*>(arg(1)), size}, {reinterpret_cast<void*>(arg(2)), sizeof full_size}}};
  return ::process_vm_writev(tid_, local.data(), 2, remote.data(), 2, 0) == ssize_t(size + sizeof full_size);
}

/// After a call that may have made a TCP connection, or begun to: its result.
long Thread::show_connection(Target& target, long result) {
  Socket& socket = *target.socket;
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (socket.fd.call(SYS_getsockopt, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) return result;
  Result<void> shown;
  if (info.tcpi_state == TCP_SYN_SENT || info.tcpi_state == TCP_SYN_RECV) {
    shown = programs_.begin_to_connect(socket, target.end.get());
  } else if (info.tcpi_state != TCP_CLOSE && info.tcpi_state != TCP_LISTEN) {
    shown = programs_.begin_to_carry(socket);
  }
  return shown ? result : -shown.error().errno_value();
}

Thread::Outcome Thread::accept(Target& target) {
  if (!may_have_socket()) return -ENFILE;  // the connection waits
  const unsigned long flags = call_.data.nr == SYS_accept4 ? arg(3) : 0;
  // The address goes to the program in one piece with its size.
  sockaddr_storage peer{};
  socklen_t peer_size = sizeof peer;
  socklen_t room = 0;
  if (arg(1) != 0 && read(&room, reinterpret_cast<const void*>(arg(2)), sizeof room) != 0) return -EFAULT;
  if (int(room) < 0) return -EINVAL;
  const unsigned long args[6] = {0, reinterpret_cast<unsigned long>(&peer), reinterpret_cast<unsigned long>(&peer_size), flags};
  const long fd = run_on(target, SYS_accept4, args, Memory::kStack);
  if (fd < 0) return fd;
  if (arg(1) != 0 && !write_address(&peer, std::min(room, peer_size), peer_size)) {
    programs_.stack().syscall(SYS_close, fd);
    return -EFAULT;
  }
  const Use use = target.socket->use == Use::kListening ? Use::kConnection : Use::kMessages;
  return place(StackFd(programs_.stack(), int(fd)), use, (flags & SOCK_NONBLOCK) != 0,
               (flags & SOCK_CLOEXEC) != 0, target.socket.get());
}

/// A program that has closed its standard input, output or errors, and then makes a copy, means the
/// copy to be that.
Thread::Outcome Thread::duplicate(const Target& target, int from, bool close_on_exec) {
  if (from < 0) return -EINVAL;
  bool all_used = true;  // below the number that is looked at
  for (int number = 0; number <= STDERR_FILENO && (all_used || number < from); ++number) {
    const bool used = bool(process_->borrow(number));
    if (!used && all_used && number >= from) return give_lowest(target.socket, target.end.get(), close_on_exec);
    all_used = all_used && used;
  }
  return give_number(target.socket, target.end.get(), from, close_on_exec);
}

/// Where the bytes of a call that sends are, in the program.
std::vector<iovec> Thread::parts_to_send() {
  std::vector<iovec> parts;
  const auto add = [&](const void* at, std::size_t count) {
    const std::size_t before = parts.size();
    parts.resize(before + std::min<std::size_t>(count, UIO_MAXIOV));
    if (read(parts.data() + before, at, (parts.size() - before) * sizeof(iovec)) != 0) parts.resize(before);
  };
  const unsigned long first = arg(1);  // a number: the program may have given any
  switch (call_.data.nr) {
    case SYS_writev:
    case SYS_pwritev2:
      add(reinterpret_cast<const void*>(first), arg(2));
      break;
    case SYS_sendmsg:
    case SYS_sendmmsg: {
      const bool many = call_.data.nr == SYS_sendmmsg;
      for (std::size_t i = 0; i < (many ? std::min<std::size_t>(arg(2), UIO_MAXIOV) : 1); ++i) {
        msghdr message{};
        const auto* const at = reinterpret_cast<const void*>(first + i * sizeof(mmsghdr));
        if (read(&message, at, sizeof message) == 0) add(message.msg_iov, message.msg_iovlen);
      }
      break;
    }
    default:
      parts.push_back({.iov_base = reinterpret_cast<void*>(first), .iov_len = arg(2)});
  }
  return parts;
}

/// Requests by netlink while memory is short: those that add nothing are made, from a copy of what was looked at.
std::optional<Thread::Outcome> Thread::on_requests(Target& target) {
  constexpr std::size_t kMost = std::size_t{64} << 10;  // bytes
  const auto parts = parts_to_send();
  std::size_t size = 0;
  for (const iovec& part : parts) size += std::min<std::size_t>(part.iov_len, INT_MAX);
  if (programs_.memory().has_for_network(tid_, size)) return std::nullopt;
  if (size > kMost || call_.data.nr == SYS_sendmmsg) return -ENOBUFS;
  std::vector<char> bytes(size);
  std::size_t have = 0;
  for (const iovec& part : parts) {
    if (read(bytes.data() + have, part.iov_base, part.iov_len) != 0) return -EFAULT;
    have += part.iov_len;
  }
  if (may_add(*target.socket->netlink, bytes)) return -ENOBUFS;
  const unsigned long args[6] = {0, reinterpret_cast<unsigned long>(bytes.data()), size};
  return run_on(target, SYS_sendto, args, Memory::kStack);
}

/// Whether what a message is sent with has an address.
bool Thread::gives_address() {
  if (call_.data.nr == SYS_sendto) return arg(4) != 0;
  msghdr message{};
  return read(&message, reinterpret_cast<const void*>(arg(1)), sizeof message) == 0 &&
         message.msg_name != nullptr && message.msg_namelen > 0;
}

/// A program sends descriptors to another one (SCM_RIGHTS), which will have them under any number.
void Thread::follow_descriptors() {
  constexpr std::size_t kMostControl = 16384;  // bytes
  const std::size_t count = call_.data.nr == SYS_sendmsg ? 1 : std::min<std::size_t>(arg(2), UIO_MAXIOV);
  const std::size_t each = call_.data.nr == SYS_sendmsg ? sizeof(msghdr) : sizeof(mmsghdr);
  std::vector<char> control;
  for (std::size_t i = 0; i < count; ++i) {
    msghdr message{};
    if (read(&message, reinterpret_cast<const char*>(arg(1)) + i * each, sizeof message) != 0) return;
    if (message.msg_control == nullptr || message.msg_controllen < sizeof(cmsghdr)) continue;
    control.resize(std::min(message.msg_controllen, kMostControl));
    if (read(control.data(), message.msg_control, control.size()) != 0) return;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
      if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS || one->cmsg_len < CMSG_LEN(0)) continue;
      const std::size_t start = std::size_t(reinterpret_cast<char*>(CMSG_DATA(one)) - control.data());
      const std::size_t end = std::min(start + one->cmsg_len - CMSG_LEN(0), control.size());
      for (std::size_t at = start; at + sizeof(int) <= end; at += sizeof(int)) {
        int number = -1;
        std::memcpy(&number, control.data() + at, sizeof number);
        if (const auto sent = target(number); sent && sent->socket)
          programs_.begin_to_carry_messages(*sent->socket, sent->end.get());
      }
    }
  }
}

/// Options of packet sockets that are about mapped rings; nothing for others.
std::optional<Thread::Outcome> Thread::on_packet_option(Target& target) {
  Socket& socket = *target.socket;
  auto* const at = reinterpret_cast<const void*>(arg(3));
  const bool sets = call_.data.nr == SYS_setsockopt;
  int value = 0;
  switch (arg(2)) {
    case PACKET_HDRLEN:
    case PACKET_VERSION:
      // Programs try the third version first, and take the second.
      if (sets == (arg(2) == PACKET_HDRLEN)) return std::nullopt;
      if (read(&value, at, sizeof value) != 0) return -EFAULT;
      return value == TPACKET_V3 ? std::optional<Outcome>(-EINVAL) : std::nullopt;
    case PACKET_RESERVE:
      if (sets && read(&value, at, sizeof value) == 0) socket.reserve = unsigned(value);
      return std::nullopt;
    case PACKET_TX_RING:
      return sets ? std::optional<Outcome>(-EOPNOTSUPP) : std::nullopt;
    case PACKET_RX_RING:
      break;
    default:
      return std::nullopt;
  }
  int version = TPACKET_V1;
  socklen_t size = sizeof version;
  socket.fd.call(SYS_getsockopt, SOL_PACKET, PACKET_VERSION, &version, &size);
  tpacket_req wanted{};
  if (arg(4) < sizeof wanted || version != TPACKET_V2) return -EINVAL;
  if (read(&wanted, at, sizeof wanted) != 0) return -EFAULT;
  socket.ring.reset();
  if (wanted.tp_block_nr == 0) return 0;
  auto made = PacketRing::make(socket.fd, wanted, socket.reserve, session_->account);
  if (!made) return -made.error().errno_value();
  socket.ring = std::move(*made);
  programs_.ring_made(target.socket);
  return 0;
}

/// mmap() of a packet socket: of its ring.
Thread::Outcome Thread::map() {
  const int number = int(arg(4));
  auto on = target(number);
  if (!on || !on->socket || !on->socket->ring) return pass();
  const PacketRing& ring = *on->socket->ring;
  if (arg(1) > ring.size() || arg(5) != 0) return -EINVAL;
  const int put = session_->notifications.replace(call_.id, ring.file(), number, true);
  if (put < 0) return put;
  process_->borrowed.push_back({number, inode_of(ring.file()), std::move(on->end), false});
  return pass();
}

/// A buffer beyond what the network's sysctls allow, which root may have: one socket's is within the program's memory.
/// The kernel doubles the value.
Thread::Outcome Thread::set_buffer(Target& target) {
  int bytes = 0;
  if (arg(4) < sizeof bytes) return -EINVAL;
  if (read(&bytes, reinterpret_cast<const void*>(arg(3)), sizeof bytes) != 0) return -EFAULT;
  if (bytes > 0 && std::uint64_t(bytes) * 2 > session_->account->limits().memory) return -EPERM;
  // Not what is there by then.
  const unsigned long args[6] = {0, arg(1), arg(2), reinterpret_cast<unsigned long>(&bytes), sizeof bytes};
  return run_on(target, SYS_setsockopt, args, Memory::kStack);
}

/// Options that say how reads and writes wait are the descriptor's as well.
void Thread::give_own_option(Target& target) const {
  const auto option = int(arg(2));
  if (arg(1) != SOL_SOCKET || std::ranges::find(kOwnOptions, option) == std::end(kOwnOptions))
    return;
  std::vector<char> value(std::min<std::size_t>(arg(4), kMostOfOption));
  if (const_cast<Thread*>(this)->read(value.data(), reinterpret_cast<void*>(arg(3)),
                                      value.size()) != 0)
    return;
  if (::setsockopt(target.end.get(), SOL_SOCKET, option, value.data(), socklen_t(value.size())) !=
      0)
    return;
  std::erase_if(target.socket->own_options, [&](const auto& own) { return own.first == option; });
  target.socket->own_options.emplace_back(option, std::move(value));
}

/// SO_ERROR of a socket that met its error while it carried.
void Thread::tell_error(Target& target) {
  if (arg(1) != SOL_SOCKET || arg(2) != SO_ERROR) return;
  Socket& socket = *target.socket;
  const int error = socket.stream ? socket.stream->take_error() : socket.carrier ? socket.carrier->take_error() : 0;
  if (error != 0) {
    write(reinterpret_cast<void*>(arg(3)), &error, sizeof(error));
  }
}

/// ioctl() about a network device on a socket of the host: if_nametoindex(3) uses one of AF_UNIX.
/// The kernel looks at the socket's netns only.
Thread::Outcome Thread::device_request() {
  Stack& stack = programs_.stack();
  if (adds_to_network(call_.data) && !programs_.memory().has_for_network(tid_, 0)) return -ENOBUFS;
  const long fd = stack.syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return fd;
  const StackFd socket(stack, int(fd));
  const unsigned long args[6] = {static_cast<unsigned long>(fd), arg(1), arg(2)};
  return call_for(SYS_ioctl, args);
}

}  // namespace lkm::exec
