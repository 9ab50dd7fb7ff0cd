// SPDX-License-Identifier: GPL-2.0
#include "toolkit/exec/relay.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "toolkit/exec/process.hpp"
#include "toolkit/exec/programs.hpp"

namespace lkm::exec {
namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10;  // bytes

}  // namespace

Result<std::pair<std::shared_ptr<Relay>, UniqueFd>> Relay::start(Stack& stack, std::shared_ptr<Socket> socket) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail(errno, "make a socket pair");
  UniqueFd stack_end(ends[0]);
  UniqueFd program_end(ends[1]);
  const std::uint64_t inode = socket_inode(program_end.get());
  auto relay = std::shared_ptr<Relay>(new Relay(stack, std::move(socket), std::move(stack_end), inode));
  LKM_TRY(relay->in_, stack.spawn("exec-in", [relay] { relay->carry_in(); }));
  LKM_TRY(relay->out_, stack.spawn("exec-out", [relay] { relay->carry_out(); }));
  return std::pair(std::move(relay), std::move(program_end));
}

void Relay::hang_up() {
  hung_up_ = true;
  in_.interrupt();  // nobody will read what comes; what is on its way out goes on
}

/// For the socket, whose file may be set not to wait. -errno when interrupted.
long Relay::wait_for(short events) {
  pollfd one{.fd = socket_->fd.get(), .events = events, .revents = 0};
  return stack_.syscall(SYS_poll, &one, 1, -1);
}

void Relay::carry_in() {
  std::vector<char> buffer(kChunk);
  while (!hung_up_) {
    const long got = socket_->fd.call(SYS_recvfrom, buffer.data(), buffer.size(), MSG_DONTWAIT, nullptr, nullptr);
    if (got == -EAGAIN) {
      (void)wait_for(POLLIN);
      continue;
    }
    if (got <= 0) break;
    for (std::string_view rest(buffer.data(), std::size_t(got)); !rest.empty();) {
      const ssize_t sent = ::send(stack_end_.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) {
        rest.remove_prefix(std::size_t(sent));
      } else if (errno != EAGAIN) {
        return;  // closed
      } else {
        (void)stack_.wait_fd(stack_end_.get(), POLLOUT);
      }
    }
  }
  ::shutdown(stack_end_.get(), SHUT_WR);
}

void Relay::carry_out() {
  std::vector<char> buffer(kChunk);
  for (;;) {
    const ssize_t got = ::recv(stack_end_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
      (void)stack_.wait_fd(stack_end_.get(), POLLIN);
      continue;
    }
    if (got <= 0) break;
    for (std::string_view rest(buffer.data(), std::size_t(got)); !rest.empty();) {
      const long sent = socket_->fd.call(SYS_sendto, rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL, nullptr, 0);
      if (sent > 0) {
        rest.remove_prefix(std::size_t(sent));
      } else if (sent != -EAGAIN) {
        ::shutdown(stack_end_.get(), SHUT_RD);  // the program's next write meets EPIPE
        return;
      } else {
        (void)wait_for(POLLOUT);
      }
    }
  }
  socket_->fd.call(SYS_shutdown, SHUT_WR);
}

}  // namespace lkm::exec
