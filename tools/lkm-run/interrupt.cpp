// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/interrupt.hpp"

#include <poll.h>
#include <sys/signalfd.h>

#include <array>

namespace lkm::cli {

Result<Interrupt> Interrupt::block() {
  sigset_t signals;
  sigset_t before;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, number);
  if (::sigprocmask(SIG_BLOCK, &signals, &before) != 0) return fail(errno, "block signals");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail(errno, "make a signalfd");
  return Interrupt(std::move(fd), before);
}

Interrupt::~Interrupt() {
  if (fd_) ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<int> Interrupt::take() {
  signalfd_siginfo info;
  if (::read(fd_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

Result<Interrupt::Woken> Interrupt::wait(int other, short events) {
  std::array<pollfd, 2> fds = {pollfd{.fd = fd_.get(), .events = POLLIN, .revents = 0},
                               pollfd{.fd = other, .events = events, .revents = 0}};
  while (::poll(fds.data(), fds.size(), -1) < 0) {
    if (errno != EINTR) return fail(errno, "wait");
  }
  return fds[0].revents ? Woken::kBySignal : Woken::kByOther;
}

Result<std::string> Interrupt::read_all(const Child& child) {
  std::string text;
  std::array<char, 16384> bytes;
  for (;;) {
    LKM_TRY(const auto woken, wait(child.out().get(), POLLIN));
    if (woken == Woken::kBySignal) return fail(ECANCELED, "read from a program");
    const ssize_t got = ::read(child.out().get(), bytes.data(), bytes.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return fail(errno, "read from a program");
    if (got == 0) return text;
    text.append(bytes.data(), std::size_t(got));
  }
}

}  // namespace lkm::cli
