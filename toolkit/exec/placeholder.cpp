// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/placeholder.hpp"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <climits>
#include <vector>

#include "toolkit/exec/process.hpp"

namespace lkm::exec {
namespace {

/// Not writable is a socket whose buffer is filled by more than a quarter (net/unix/af_unix.c,
/// unix_writable()). The kernel makes this the least it grants, some 4.5 KiB.
constexpr int kSmallBuffer = 1;
constexpr std::size_t kSmallFilling = 1500;  // bytes

constexpr int kUsualBuffer = 106'496;  // bytes; the kernel doubles it (net.core.wmem_default)

/// For the buffers that sockets have by default (net.core.wmem_default).
std::size_t large_filling(int socket) {
  static const std::size_t filling = [&] {
    int buffer = 0;
    socklen_t size = sizeof(buffer);
    ::getsockopt(socket, SOL_SOCKET, SO_SNDBUF, &buffer, &size);
    return std::size_t(buffer) / 3;
  }();
  return filling;
}

}  // namespace

Result<std::pair<Placeholder, UniqueFd>> Placeholder::make(Buffers buffers, bool nonblocking,
                                                           int type) {
  int ends[2];
  // Calls on the stack's end never wait, whatever this says.
  const int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  if (::socketpair(AF_UNIX, type | flags, 0, ends) != 0) {
    return fail(errno, "make a placeholder for a socket");
  }
  UniqueFd stack_end(ends[0]);
  UniqueFd program_end(ends[1]);
  const std::uint64_t inode = socket_inode(program_end.get());
  std::size_t filling = kSmallFilling;
  if (buffers == Buffers::kLarge) {
    filling = large_filling(program_end.get());
  } else if (::setsockopt(program_end.get(), SOL_SOCKET, SO_SNDBUF, &kSmallBuffer,
                          sizeof(kSmallBuffer)) != 0) {
    return fail(errno, "prepare a placeholder for a socket");
  }
  return std::pair(Placeholder(std::move(stack_end), inode, filling),
                   std::move(program_end));
}

/// And nothing that the program wrote behind it.
void Placeholder::take_filling() {
  std::vector<char> bytes(filling_);
  (void)!::recv(stack_end_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_WAITALL);
}

/// What was sent by raise_edge(), as far as it is still there.
void Placeholder::take_marks(int program_end) {
  std::array<char, 4096> bytes;
  for (; marks_ > 0; --marks_) {
    const ssize_t taken = ::recv(program_end, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (taken <= 0) break;
  }
  marks_ = 0;
}

void Placeholder::raise(unsigned events) {
  if ((events & POLLERR) != 0) events |= POLLIN | POLLOUT;
  // With a hang-up goes a byte that stays unread: see closed().
  if ((events & (POLLIN | POLLRDHUP)) != 0 && (shown_ & (POLLIN | POLLRDHUP)) == 0) raise_edge();
  if ((events & POLLOUT) != 0 && (shown_ & POLLOUT) == 0) {
    take_filling();
    shown_ |= POLLOUT;
  }
  if ((events & POLLRDHUP) != 0 && (shown_ & POLLRDHUP) == 0) {
    ::shutdown(stack_end_.get(), SHUT_WR);
    shown_ |= POLLRDHUP;
  }
  // A TCP socket that was never connected has HUP as well, alone; it must not stay with the
  // placeholder.
  if ((events & POLLHUP) != 0 && (events & POLLRDHUP) != 0 && !hung_up()) {
    ::shutdown(stack_end_.get(), SHUT_RDWR);
    shown_ |= POLLHUP;
  }
}

void Placeholder::show(unsigned events, int program_end) {
  if ((events & POLLERR) != 0) events |= POLLIN | POLLOUT;
  if ((events & (POLLIN | POLLRDHUP)) == 0 && (shown_ & POLLIN) != 0 && (shown_ & POLLRDHUP) == 0) {
    take_marks(program_end);
    shown_ &= ~unsigned(POLLIN);
  }
  if ((events & POLLOUT) == 0 && (shown_ & POLLOUT) != 0 && !hung_up()) {
    const std::vector<char> filling(filling_);
    (void)!::send(program_end, filling.data(), filling.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    shown_ &= ~unsigned(POLLOUT);
  }
  raise(events);
}

void Placeholder::begin_to_carry() {
  if ((shown_ & POLLOUT) == 0) take_filling();
  shown_ = POLLOUT;
}

void Placeholder::begin_to_carry(int program_end) {
  if ((shown_ & POLLRDHUP) == 0) take_marks(program_end);
  if ((shown_ & POLLOUT) == 0) take_filling();
  ::setsockopt(program_end, SOL_SOCKET, SO_SNDBUF, &kUsualBuffer, sizeof(kUsualBuffer));
  shown_ = POLLOUT | (shown_ & (POLLRDHUP | POLLHUP));
}

void Placeholder::raise_edge() {
  if ((shown_ & POLLRDHUP) != 0) return;
  ++marks_;
  (void)!::send(stack_end_.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  shown_ |= POLLIN;
}

void Placeholder::look_again() {
  int unread = 0;  // of what the stack's end sent
  int filling = 0;
  ::ioctl(stack_end_.get(), SIOCOUTQ, &unread);
  ::ioctl(stack_end_.get(), FIONREAD, &filling);
  shown_ &= ~unsigned(POLLIN | POLLOUT);
  if (unread > 0) shown_ |= POLLIN;
  marks_ = unread > 0 ? UINT_MAX : 0;
  if (filling == 0) shown_ |= POLLOUT;
}

unsigned Placeholder::events() const {
  pollfd end{.fd = stack_end_.get(), .events = POLLIN | POLLRDHUP, .revents = 0};
  ::poll(&end, 1, 0);
  return unsigned(end.revents);
}

bool Placeholder::closed() const { return closed(events()); }

bool Placeholder::closed(unsigned epoll_events) const {
  return (epoll_events & EPOLLERR) != 0 || ((epoll_events & EPOLLHUP) != 0 && !hung_up());
}

}  // namespace lkm::exec
