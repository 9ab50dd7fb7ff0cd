// SPDX-License-Identifier: GPL-2.0
//
// The C library's functions about sockets and descriptors, but those that wait for several (waits.cpp). Those that end in
// _chk are what a program calls that was compiled with _FORTIFY_SOURCE.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <vector>

#include "toolkit/embed/embedded_stack.hpp"

using namespace lkm::embed;  // NOLINT: the names below are the C library's

namespace {

/// Of whose size the compiler knows.
void check(std::size_t wanted, std::size_t size) {
  if (wanted > size) std::abort();
}

long duplicate(int number, int least, bool close_on_exec) {
  const long copy = stack_call(SYS_dup, descriptor_of(number));
  return copy < 0 ? -1 : give_number(copy, close_on_exec, least);
}

}  // namespace

extern "C" {

int socket(int family, int type, int protocol) noexcept {
  if (family == AF_UNIX) return int(host_call(SYS_socket, family, type, protocol));
  const long made = stack_call(SYS_socket, family, type & ~SOCK_CLOEXEC, protocol);
  return made < 0 ? -1 : give_number(made, (type & SOCK_CLOEXEC) != 0);
}

int accept4(int number, sockaddr* address, socklen_t* size, int flags) {
  if (descriptor_of(number) == kHosts) return int(host_call(SYS_accept4, number, address, size, flags));
  const long made = stack_call(SYS_accept4, descriptor_of(number), address, size, flags & ~SOCK_CLOEXEC);
  return made < 0 ? -1 : give_number(made, (flags & SOCK_CLOEXEC) != 0);
}
int accept(int number, sockaddr* address, socklen_t* size) { return accept4(number, address, size, 0); }

int bind(int number, const sockaddr* address, socklen_t size) noexcept { return int(call_on(SYS_bind, number, address, size)); }
int connect(int number, const sockaddr* address, socklen_t size) { return int(call_on(SYS_connect, number, address, size)); }
int listen(int number, int backlog) noexcept { return int(call_on(SYS_listen, number, backlog)); }
int shutdown(int number, int how) noexcept { return int(call_on(SYS_shutdown, number, how)); }
int getsockname(int number, sockaddr* address, socklen_t* size) noexcept {
  return int(call_on(SYS_getsockname, number, address, size));
}
int getpeername(int number, sockaddr* address, socklen_t* size) noexcept {
  return int(call_on(SYS_getpeername, number, address, size));
}
int getsockopt(int number, int level, int option, void* value, socklen_t* size) noexcept {
  return int(call_on(SYS_getsockopt, number, level, option, value, size));
}
int setsockopt(int number, int level, int option, const void* value, socklen_t size) noexcept {
  return int(call_on(SYS_setsockopt, number, level, option, value, size));
}

ssize_t send(int number, const void* bytes, std::size_t size, int flags) {
  return call_on(SYS_sendto, number, bytes, size, flags, nullptr, 0);
}
ssize_t sendto(int number, const void* bytes, std::size_t size, int flags, const sockaddr* to, socklen_t length) {
  return call_on(SYS_sendto, number, bytes, size, flags, to, length);
}
ssize_t sendmsg(int number, const msghdr* message, int flags) { return call_on(SYS_sendmsg, number, message, flags); }
int sendmmsg(int number, mmsghdr* messages, unsigned count, int flags) {
  return int(call_on(SYS_sendmmsg, number, messages, count, flags));
}
ssize_t recv(int number, void* bytes, std::size_t size, int flags) {
  return call_on(SYS_recvfrom, number, bytes, size, flags, nullptr, nullptr);
}
ssize_t recvfrom(int number, void* bytes, std::size_t size, int flags, sockaddr* from, socklen_t* length) {
  return call_on(SYS_recvfrom, number, bytes, size, flags, from, length);
}
ssize_t recvmsg(int number, msghdr* message, int flags) { return call_on(SYS_recvmsg, number, message, flags); }
int recvmmsg(int number, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  return int(call_on(SYS_recvmmsg, number, messages, count, flags, timeout));
}
ssize_t read(int number, void* bytes, std::size_t size) { return call_on(SYS_read, number, bytes, size); }
ssize_t write(int number, const void* bytes, std::size_t size) { return call_on(SYS_write, number, bytes, size); }
ssize_t readv(int number, const iovec* parts, int count) { return call_on(SYS_readv, number, parts, count); }
ssize_t writev(int number, const iovec* parts, int count) { return call_on(SYS_writev, number, parts, count); }

ssize_t __read_chk(int number, void* bytes, std::size_t size, std::size_t room) {
  check(size, room);
  return read(number, bytes, size);
}
ssize_t __recv_chk(int number, void* bytes, std::size_t size, std::size_t room, int flags) {
  check(size, room);
  return recv(number, bytes, size, flags);
}
ssize_t __recvfrom_chk(int number, void* bytes, std::size_t size, std::size_t room, int flags, sockaddr* from,
                       socklen_t* length) {
  check(size, room);
  return recvfrom(number, bytes, size, flags, from, length);
}

/// From a file of the host, by a buffer: the stack cannot read those.
ssize_t sendfile(int out, int in, off_t* offset, std::size_t size) noexcept {
  if (descriptor_of(out) == kHosts) return host_call(SYS_sendfile, out, in, offset, size);
  if (descriptor_of(in) != kHosts) return result_of(-EINVAL);
  std::vector<char> buffer(std::min(size, std::size_t{256} << 10));
  off_t at = offset != nullptr ? *offset : ::lseek(in, 0, SEEK_CUR);
  std::size_t total = 0;
  while (total < size) {
    const ssize_t got = ::pread(in, buffer.data(), std::min(buffer.size(), size - total), at);
    if (got <= 0) {
      if (got < 0 && total == 0) return -1;
      break;
    }
    const ssize_t sent = send(out, buffer.data(), std::size_t(got), MSG_NOSIGNAL);
    if (sent < 0 && total == 0) return -1;
    if (sent <= 0) break;
    at += sent;
    total += std::size_t(sent);
    if (sent < got) break;
  }
  if (offset != nullptr) {
    *offset = at;
  } else {
    ::lseek(in, at, SEEK_SET);
  }
  return ssize_t(total);
}
ssize_t sendfile64(int out, int in, off64_t* offset, std::size_t size) noexcept { return sendfile(out, in, offset, size); }

int close(int number) {
  if (const int ours = descriptor_of(number); ours != kHosts) {
    stands_for(number, kHosts);
    (void)stack_call(SYS_close, ours);
  } else {
    set_closed(number);
  }
  return int(host_call(SYS_close, number));
}

int dup(int number) noexcept {
  return int(descriptor_of(number) == kHosts ? host_call(SYS_dup, number) : duplicate(number, 0, false));
}
int dup3(int from, int to, int flags) noexcept {
  const int source = descriptor_of(from);
  const int replaced = descriptor_of(to);
  const long copy = source == kHosts ? kHosts : stack_call(SYS_dup, source);
  const long placed = source != kHosts && copy < 0 ? -1 : host_call(SYS_dup3, from, to, flags);
  if (placed < 0) {
    if (copy >= 0) (void)stack_call(SYS_close, copy);
    return -1;
  }
  stands_for(to, int(copy));
  if (replaced != kHosts) (void)stack_call(SYS_close, replaced);
  return to;
}
int dup2(int from, int to) noexcept {
  if (from == to) return int(host_call(SYS_dup2, from, to));
  return dup3(from, to, 0);
}

int fcntl(int number, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const auto argument = va_arg(rest, unsigned long);
  va_end(rest);
  const int ours = descriptor_of(number);
  if (ours == kHosts) return int(host_call(SYS_fcntl, number, command, argument));
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return int(duplicate(number, int(argument), command == F_DUPFD_CLOEXEC));
    case F_GETFD:
    case F_SETFD:
      return int(host_call(SYS_fcntl, number, command, argument));
    default:
      return int(stack_call(SYS_fcntl, ours, command, argument));
  }
}
int fcntl64(int number, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const auto argument = va_arg(rest, unsigned long);
  va_end(rest);
  return fcntl(number, command, argument);
}

int ioctl(int number, unsigned long request, ...) noexcept {
  va_list rest;
  va_start(rest, request);
  const auto argument = va_arg(rest, unsigned long);
  va_end(rest);
  return int(call_on(SYS_ioctl, number, request, argument));
}

}  // extern "C"
