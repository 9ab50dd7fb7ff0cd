// SPDX-License-Identifier: GPL-2.0
//
// The process ends, and with it the network. A kernel goes on after a program's end: it closes the program's connections, and
// what was sent leaves. Here that is done before the end, whether by exit(3), _exit(2), abort(3) or a signal that nobody
// handles. SIGKILL, and execve(2), end the stack as a power cut does a machine.
#include "toolkit/embed/farewell.hpp"

#include <linux/sockios.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <sstream>
#include <string>
#include <thread>

#include "toolkit/embed/embedded_stack.hpp"

namespace lkm::embed {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// For what was sent before the program ended.
constexpr auto kFarewell = 2s;
/// For a thread that a signal met inside the stack, to come out.
constexpr auto kWayOut = 500ms;

constexpr std::array kDeadly = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGABRT, SIGBUS, SIGFPE,
                                SIGSEGV, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2};

std::atomic<Stack*> g_stack = nullptr;
pid_t g_process = 0;
std::atomic<bool> g_begun = false, g_said = false;
std::atomic<pid_t> g_speaker = 0;  ///< the thread that says it

// Of a signal's handler, to the thread that does the rest.
sem_t g_signalled;
std::atomic<int> g_signal = 0;
std::atomic<pid_t> g_met = 0;  ///< the thread that has it
std::atomic<bool> g_waits = false;

void close_socket(Stack& stack, int descriptor) {
  int unread = 0;
  linger how{};
  socklen_t size = sizeof(how);
  const bool by_fin = stack.syscall(SYS_ioctl, descriptor, SIOCINQ, &unread) == 0 && unread == 0 &&
                      stack.syscall(SYS_getsockopt, descriptor, SOL_SOCKET, SO_LINGER, &how, &size) == 0 &&
                      (how.l_onoff == 0 || how.l_linger != 0);
  // A thread that waits in a call on it keeps it open beyond its close.
  if (by_fin) stack.syscall(SYS_shutdown, descriptor, SHUT_RDWR);
  stack.syscall(SYS_close, descriptor);
}

/// Of /proc/net/tcp: "sl local remote state …". Orphans would not do: a thread that a signal met in a call on a connection
/// keeps it from being one.
bool awaits_an_acknowledgement(const std::string& line) {
  std::istringstream words(line);
  std::string slot, local, remote, state;
  words >> slot >> local >> remote >> state;
  return state == "04" || state == "09" || state == "0B";  // FIN_WAIT1, LAST_ACK, CLOSING
}

/// Connections are acknowledged to their end, and no frame waits for room in a cable; or there is no cable.
bool all_has_left(Stack& stack) {
  const auto devices = stack.devices();
  if (!devices || std::ranges::none_of(*devices, &DeviceInfo::carrier)) return true;
  if (std::ranges::any_of(*devices, &DeviceInfo::full)) return false;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    const auto text = stack.read_file(table);
    std::istringstream lines(text ? *text : "");
    for (std::string line; std::getline(lines, line);) {
      if (awaits_an_acknowledgement(line)) return false;
    }
  }
  return true;
}

/// For a handler.
void sleep_a_moment() {
  const timespec moment{.tv_sec = 0, .tv_nsec = 200'000};
  ::nanosleep(&moment, nullptr);
}

void die_of(int signal) {
  ::signal(signal, SIG_DFL);
  ::kill(::getpid(), signal);
}

/// The thread stays here until the process is gone. Unless it is inside the stack, which it must leave first.
void on_deadly_signal(int signal) {
  Stack* const stack = g_stack;
  if (stack == nullptr || ::getpid() != g_process) return die_of(signal);
  g_signal = signal;
  g_met = ::gettid();
  if (g_met == g_speaker) return;  // the program is ending as it is
  const bool inside = stack->is_inside();
  if (!inside) g_waits = true;
  ::sem_post(&g_signalled);
  if (inside) return;
  for (const auto end = Clock::now() + kFarewell + kWayOut; !g_said && Clock::now() < end;) sleep_a_moment();
  die_of(signal);
}

void wait_for_a_signal() {
  while (::sem_wait(&g_signalled) != 0) {
  }
  for (const auto end = Clock::now() + kWayOut; !g_waits && Clock::now() < end;) {
    ::syscall(SYS_tgkill, g_process, g_met.load(), g_signal.load());
    sleep_a_moment();
  }
  say_farewell();
}

[[gnu::destructor]] void at_exit() { say_farewell(); }

}  // namespace

SignalsAtBoot::SignalsAtBoot() {
  sigset_t deadly;
  ::sigemptyset(&deadly);
  for (const int signal : kDeadly) {
    ::sigaddset(&deadly, signal);
    struct sigaction now {};
    ::sigaction(signal, nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) continue;
    now.sa_handler = on_deadly_signal;
    now.sa_flags = SA_RESTART | SA_ONSTACK;
    ::sigaction(signal, &now, nullptr);
  }
  ::pthread_sigmask(SIG_BLOCK, &deadly, &before_);
}

SignalsAtBoot::~SignalsAtBoot() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void SignalsAtBoot::booted(Stack& stack) {
  ::sem_init(&g_signalled, 0, 0);
  g_process = ::getpid();
  g_stack = &stack;
  ::at_quick_exit(say_farewell);
  std::thread(wait_for_a_signal).detach();
}

void say_farewell() {
  Stack* const stack = g_stack;
  if (stack == nullptr || ::getpid() != g_process) return;
  const auto end = Clock::now() + kFarewell;
  if (g_begun.exchange(true)) {
    while (!g_said && Clock::now() < end) sleep_a_moment();
  } else {
    g_speaker = ::gettid();
    for (const int descriptor : take_descriptors()) close_socket(*stack, descriptor);
    while (Clock::now() < end && !all_has_left(*stack)) std::this_thread::sleep_for(1ms);
    g_said = true;
  }
  // A signal has ended the program, and whoever meets the end of his connections meanwhile and exits does not undo that.
  if (g_signal == 0) return;
  die_of(g_signal);
  for (const auto dead = Clock::now() + kWayOut; Clock::now() < dead;) sleep_a_moment();
}

}  // namespace lkm::embed

extern "C" {

[[noreturn]] void _exit(int status) {
  lkm::embed::say_farewell();
  for (;;) ::syscall(SYS_exit_group, status);
}
[[noreturn]] void _Exit(int status) noexcept { _exit(status); }

}  // extern "C"
