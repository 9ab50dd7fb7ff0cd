// SPDX-License-Identifier: GPL-2.0
//
// sendfile() and splice() with sockets on which each call is one of the stack: bytes go through a buffer. (A TCP
// connection's are the host's.)
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "toolkit/exec/thread.hpp"

namespace lkm::exec {
namespace {

constexpr std::size_t kSendFileChunk = std::size_t{128} << 10;  // bytes
constexpr std::size_t kSpliceChunk = std::size_t{64} << 10;     // bytes: sixteen pages, as the kernel has it
constexpr long kRestartSys = 512;                               // the kernel's own (linux/errno.h)

/// The pipe that `end` is of, opened anew: calls on it do not wait, whatever the program has set for its own.
Result<UniqueFd> pipe_of(const UniqueFd& end, int access) {
  return UniqueFd::open(fmt::format("/proc/self/fd/{}", end.get()), access | O_NONBLOCK);
}

bool allows(int descriptor, int access) {
  const int mode = ::fcntl(descriptor, F_GETFL) & O_ACCMODE;
  return mode == access || mode == O_RDWR;
}

}  // namespace

/// sendfile() from a file of the host: bytes go through a buffer of the stack. Only what the socket
/// took is taken from the file.
Thread::Outcome Thread::send_file() {
  const auto in = target(int(arg(1)));
  if (!in) return -in.error().errno_value();
  auto out = target(int(arg(0)));
  if (!out) return -out.error().errno_value();
  if (!out->socket || out->socket->use == Use::kConnection) return pass();
  struct stat status {};
  if (in->socket || ::fstat(in->end.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return -EINVAL;

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
    const unsigned long args[6] = {
        0, reinterpret_cast<unsigned long>(buffer.data()), std::size_t(got),
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

/// Nothing is taken from the one side that the other side did not take.
Thread::Outcome Thread::splice() {
  auto from = target(int(arg(0)));
  if (!from) return -from.error().errno_value();
  auto to = target(int(arg(2)));
  if (!to) return -to.error().errno_value();
  const auto is_ours = [](const Target& end) { return end.socket && end.socket->use != Use::kConnection; };
  if (!is_ours(*from) && !is_ours(*to)) return pass();
  const Target& pipe = is_ours(*from) ? *to : *from;
  struct stat status {};
  if (::fstat(pipe.end.get(), &status) != 0 || !S_ISFIFO(status.st_mode)) return -EINVAL;
  if (arg(is_ours(*from) ? 3 : 1) != 0) return -ESPIPE;
  if (arg(is_ours(*from) ? 1 : 3) != 0) return -EINVAL;
  const int access = is_ours(*from) ? O_WRONLY : O_RDONLY;
  if (!allows(pipe.end.get(), access)) return -EBADF;
  if (arg(4) == 0) return 0;
  return is_ours(*from) ? splice_in(*from, pipe.end) : splice_out(pipe.end, *to);
}

/// 0 when the pipe has one of the events, or has ended.
long Thread::wait_for_pipe(const UniqueFd& pipe, short events, bool may_wait) {
  pollfd now{.fd = pipe.get(), .events = events, .revents = 0};
  if (::poll(&now, 1, 0) > 0) return 0;
  if (!may_wait) return -EAGAIN;
  for (;;) {
    if (programs_.stack().wait_fd(pipe.get(), events)) return 0;
    if (!to_be_restarted(-EINTR)) return -kRestartSys;
  }
}

Thread::Outcome Thread::splice_in(Target& from, const UniqueFd& pipe) {
  const bool may_wait = (arg(5) & SPLICE_F_NONBLOCK) == 0 && (::fcntl(pipe.get(), F_GETFL) & O_NONBLOCK) == 0;
  const auto in = pipe_of(pipe, O_WRONLY);
  if (!in) return -in.error().errno_value();
  if (const long error = wait_for_pipe(*in, POLLOUT, may_wait); error != 0) return error;
  std::vector<char> buffer(std::min<std::size_t>(arg(4), kSpliceChunk));
  const unsigned long args[6] = {0, reinterpret_cast<unsigned long>(buffer.data()), buffer.size()};
  const long got = run_on(from, SYS_recvfrom, args, Memory::kStack);
  if (got <= 0) return got;
  std::size_t written = 0;
  while (written < std::size_t(got)) {
    const ssize_t some = ::write(in->get(), buffer.data() + written, std::size_t(got) - written);
    if (some > 0) {
      written += std::size_t(some);
      continue;
    }
    if (errno == EPIPE) {
      ::syscall(SYS_tgkill, pid(), tid_, SIGPIPE);
      return written > 0 ? long(written) : -EPIPE;
    }
    // What the pipe has no room for is lost of a message, as it is on a host.
    if (errno != EAGAIN || wait_for_pipe(*in, POLLOUT, may_wait) != 0) break;
  }
  return long(written);
}

Thread::Outcome Thread::splice_out(const UniqueFd& pipe, Target& to) {
  const bool may_wait = (arg(5) & SPLICE_F_NONBLOCK) == 0 && (::fcntl(pipe.get(), F_GETFL) & O_NONBLOCK) == 0;
  const auto out = pipe_of(pipe, O_RDONLY);
  int ends[2];
  if (!out) return -out.error().errno_value();
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return -errno;
  const UniqueFd copy_out(ends[0]), copy_in(ends[1]);
  ssize_t size = 0;
  while ((size = ::tee(out->get(), copy_in.get(), std::min<std::size_t>(arg(4), kSpliceChunk), SPLICE_F_NONBLOCK)) < 0) {
    if (errno != EAGAIN) return -errno;
    if (const long error = wait_for_pipe(*out, POLLIN, may_wait); error != 0) return error;
  }
  if (size == 0) return 0;  // nobody writes
  std::vector<char> buffer(std::size_t(size), '\0');
  size = ::read(copy_out.get(), buffer.data(), buffer.size());
  if (size <= 0) return -EIO;
  constexpr unsigned long kMore = 4;  // SPLICE_F_MORE
  const unsigned long args[6] = {0, reinterpret_cast<unsigned long>(buffer.data()), static_cast<unsigned long>(size),
                                 static_cast<unsigned long>((arg(5) & kMore) != 0 ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL)};
  const long sent = run_on(to, SYS_sendto, args, Memory::kStack);
  if (sent == -EPIPE) ::syscall(SYS_tgkill, pid(), tid_, SIGPIPE);
  if (sent > 0) (void)!::read(out->get(), buffer.data(), std::size_t(sent));
  return sent;
}

}  // namespace lkm::exec
