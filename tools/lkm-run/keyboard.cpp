// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/keyboard.hpp"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

namespace lkm::cli {
namespace {

// Signals whose default is death. SIGKILL leaves no time.
constexpr std::array kDeadly = {SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

termios before{};  // what the terminal gets back while `raw` is not 0
volatile std::sig_atomic_t raw = 0;
bool exists = false;

bool in_foreground() { return ::tcgetpgrp(STDIN_FILENO) == ::getpgrp(); }

// What handlers call, too: tcgetattr(), tcsetattr() and tcgetpgrp() are async-signal-safe
// (signal-safety(7)).

void set_raw() {
  termios settings = before;
  settings.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  if (::tcsetattr(STDIN_FILENO, TCSANOW, &settings) == 0) raw = 1;
}

void make_raw() {
  // From the background, tcsetattr() would stop the process (SIGTTOU); and the settings then are those of
  // the shell, which edits a line.
  if (raw || !in_foreground() || ::tcgetattr(STDIN_FILENO, &before) != 0) return;
  set_raw();
}

void restore() {
  if (!raw) return;
  if (in_foreground()) ::tcsetattr(STDIN_FILENO, TCSANOW, &before);
  raw = 0;
}

void stop(int) {
  const int saved = errno;
  restore();
  ::kill(::getpid(), SIGSTOP);
  make_raw();  // after SIGCONT
  errno = saved;
}

// The process was stopped by SIGSTOP, and its shell has used the terminal since.
void go_on(int) {
  const int saved = errno;
  if (raw && in_foreground()) set_raw();
  errno = saved;
}

void die(int number) {
  restore();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void handle(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(number, &action, nullptr);
}

}  // namespace

Result<Keyboard> Keyboard::open() {
  if (exists) return fail(EBUSY, "open the keyboard");
  termios settings{};
  if (::tcgetattr(STDIN_FILENO, &settings) != 0) return fail(errno, "get the terminal's settings");
  exists = true;
  for (const int number : kDeadly) handle(number, die);
  handle(SIGTSTP, stop);
  handle(SIGCONT, go_on);
  make_raw();
  return Keyboard();
}

Keyboard::Keyboard(Keyboard&& other) noexcept : owner_(std::exchange(other.owner_, false)) {}

Keyboard::~Keyboard() {
  if (!owner_) return;
  restore();
  for (const int number : kDeadly) std::signal(number, SIG_DFL);
  std::signal(SIGTSTP, SIG_DFL);
  std::signal(SIGCONT, SIG_DFL);
  exists = false;
}

int Keyboard::fd() {
  if (closed_) return -1;
  if (!in_foreground()) {
    raw = 0;  // the shell has its own settings there now
    return -1;
  }
  make_raw();
  return STDIN_FILENO;
}

char Keyboard::take() {
  const auto next = [this] {
    char byte = 0;
    if (::read(STDIN_FILENO, &byte, 1) != 1) closed_ = true;
    return byte;
  };
  const auto more = [this] {
    pollfd poll = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    return !closed_ && ::poll(&poll, 1, 0) > 0;
  };
  const char key = next();
  if (key != '\x1b') return key;
  // ECMA-48: ESC [ parameters, and one byte from '@' on; ESC O and one byte. ESC alone is the key.
  if (!more()) return '\0';
  if (const char kind = next(); kind != '[') {
    if (kind == 'O' && more()) next();
    return '\0';
  }
  while (more() && next() < '@') {
  }
  return '\0';
}

}  // namespace lkm::cli
