// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/message_carrier.hpp"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "toolkit/base/defer.hpp"

namespace lkm::exec {

int type_of(const StackFd& socket) {
  int type = 0;
  socklen_t size = sizeof type;
  socket.call(SYS_getsockopt, SOL_SOCKET, SO_TYPE, &type, &size);
  return type;
}

MessageCarrier::MessageCarrier(Stack& stack, StreamBuffers& buffers, const StackFd& socket, int pair)
    : stack_(stack), buffers_(buffers), socket_(socket), pair_(pair) {
  const int type = type_of(socket);
  keeps_bounds_ = type != SOCK_STREAM;
  may_end_ = type != SOCK_DGRAM && type != SOCK_RAW;
}

void MessageCarrier::lock() {
  while (busy_) stack_.yield();
  busy_ = true;
}

/// Whether the program has not read all that was put there for it.
bool MessageCarrier::in_pair() const {
  int unread = 0;
  return ::ioctl(pair_, SIOCOUTQ, &unread) == 0 && unread > 0;
}

void MessageCarrier::carry_in() {
  in_again_ = true;
  if (busy_) return;
  busy_ = true;
  while (std::exchange(in_again_, false)) copy_next();
  busy_ = false;
  if (out_again_) carry_out(may_send_);
}

void MessageCarrier::carry_out(bool may_send) {
  out_again_ = true;
  may_send_ = may_send;
  if (busy_) return;
  busy_ = true;
  while (std::exchange(out_again_, false)) send_all(may_send_);
  busy_ = false;
  if (in_again_) carry_in();
}

/// The program has read the copy but for `unread` bytes: the socket has no more than that of it.
void MessageCarrier::settle_copy(std::size_t unread) {
  if (std::exchange(copy_, Copy::kNone) != Copy::kOfFirst) return;
  const std::size_t read = copied_ - std::min(unread, copied_);
  if (keeps_bounds_ ? unread > 0 : read == 0) return;
  auto buffer = buffers_.take();
  socket_.call(SYS_recvfrom, buffer.get(), keeps_bounds_ ? StreamBuffers::kSize : read, MSG_DONTWAIT, nullptr, nullptr);
  buffers_.put_back(std::move(buffer));
}

void MessageCarrier::copy_next() {
  if (copy_ != Copy::kNone) {
    if (in_pair()) return;
    settle_copy(0);
  }
  if (ended_) return;
  auto buffer = buffers_.take();
  const auto done = defer([&] { buffers_.put_back(std::move(buffer)); });
  constexpr int kMostErrors = 8;  // one that stays is not asked for over and over
  for (int errors = 0; errors < kMostErrors;) {
    const long got = socket_.call(SYS_recvfrom, buffer.get(), StreamBuffers::kSize, MSG_PEEK | MSG_DONTWAIT, nullptr, nullptr);
    if (got == -EAGAIN) return;
    if (got == -ENOTCONN || got == -EINVAL || got == -EOPNOTSUPP) return;  // it listens, or is not connected yet
    if (got < 0) {
      error_ = int(-got);
      if (may_end_) return end();
      ++errors;  // it has been told by that, and there may be messages
      continue;
    }
    if (got == 0 && may_end_) return end();
    if (::send(pair_, buffer.get(), std::size_t(got), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno == EAGAIN) return;  // what was left there by another process than this
      ended_ = true;
      return;
    }
    copy_ = Copy::kOfFirst;
    copied_ = std::size_t(got);
    ++copies_;
    return;
  }
}

/// There will be no more messages, which the program shall see.
void MessageCarrier::end() {
  ended_ = true;
  ::shutdown(pair_, SHUT_WR);
}

void MessageCarrier::send_all(bool may_send) {
  auto buffer = buffers_.take();
  const auto done = defer([&] { buffers_.put_back(std::move(buffer)); });
  all_out_ = false;
  for (;;) {
    const ssize_t size = ::recv(pair_, buffer.get(), StreamBuffers::kSize, MSG_PEEK | MSG_DONTWAIT);
    if (size < 0) break;
    if (size == 0) {  // a message without bytes, or the end
      pollfd end{.fd = pair_, .events = POLLRDHUP, .revents = 0};
      ::poll(&end, 1, 0);
      if (!keeps_bounds_ || (end.revents & (POLLRDHUP | POLLHUP)) != 0) break;
    }
    const long sent = may_send ? socket_.call(SYS_sendto, buffer.get(), size, MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0)
                               : -ENOBUFS;
    if (sent == -EAGAIN) return;
    if (sent == -EINTR) continue;
    if (sent < 0) error_ = int(-sent);
    if (sent >= 0) sent_ += std::size_t(sent) + kPerDatagram;
    const std::size_t gone = keeps_bounds_ || sent < 0 ? std::size_t(size) : std::size_t(sent);
    (void)!::recv(pair_, buffer.get(), gone, MSG_DONTWAIT);
  }
  all_out_ = true;
}

void MessageCarrier::take_back(int program_end) {
  lock();
  if (copy_ != Copy::kNone) {
    auto buffer = buffers_.take();
    std::size_t unread = 0;
    bool there = false;
    for (ssize_t size = 0; (size = ::recv(program_end, buffer.get(), StreamBuffers::kSize, MSG_DONTWAIT)) >= 0;) {
      there = true;
      unread += std::size_t(size);
      if (size == 0 || keeps_bounds_) break;
    }
    buffers_.put_back(std::move(buffer));
    // A message without bytes that was not read is as good as one with some.
    settle_copy(there && keeps_bounds_ ? std::max<std::size_t>(unread, 1) : unread);
  }
  busy_ = false;
  in_again_ = false;
  if (out_again_) carry_out(may_send_);
}

void MessageCarrier::look_again() { copy_ = in_pair() ? Copy::kOfNone : Copy::kNone; }

}  // namespace lkm::exec
