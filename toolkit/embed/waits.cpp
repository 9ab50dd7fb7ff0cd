// SPDX-License-Identifier: GPL-2.0
//
// poll(2), select(2) and epoll(7) over descriptors of the stack, of the host, or of both.
//
// Who has all of one kind waits in that kernel. Of both, it waits in the stack, and looks at the host's every
// millisecond.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <map>
#include <mutex>
#include <vector>

#include "toolkit/embed/embedded_stack.hpp"

using namespace lkm::embed;  // NOLINT: the names below are the C library's

namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kLookEvery = 1ms;
constexpr auto kForever = nanoseconds::max();

timespec spec_of(nanoseconds time) {
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
  return {.tv_sec = whole.count(), .tv_nsec = (time - whole).count()};
}

nanoseconds from(const timespec* time) {
  return time == nullptr ? kForever : std::chrono::seconds(time->tv_sec) + nanoseconds(time->tv_nsec);
}

long host_poll(pollfd* fds, std::size_t count, nanoseconds timeout, const sigset_t* mask = nullptr) {
  const timespec spec = spec_of(timeout);
  return host_call(SYS_ppoll, fds, count, timeout == kForever ? nullptr : &spec, mask, sizeof(long));
}

long stack_poll(pollfd* fds, std::size_t count, nanoseconds timeout) {
  const timespec spec = spec_of(timeout);
  return stack_call(SYS_ppoll, fds, count, timeout == kForever ? nullptr : &spec, nullptr, sizeof(long));
}

/// `stacks` waits in the stack for a time, `hosts` looks without waiting: both give what is ready, or -1.
template <typename Stacks, typename Hosts>
long wait_for_both(nanoseconds timeout, Stacks stacks, Hosts hosts) {
  const auto begin = Clock::now();
  for (nanoseconds slice = 0ns;;) {
    const long there = hosts();
    if (there < 0) return -1;
    const long ours = stacks(there > 0 ? 0ns : slice);
    if (ours < 0) return -1;
    if (there + ours > 0) return there + ours;
    const nanoseconds left = timeout == kForever ? kForever : timeout - (Clock::now() - begin);
    if (left <= 0ns) return 0;
    slice = std::min<nanoseconds>(kLookEvery, left);
  }
}

long poll_all(pollfd* fds, nfds_t count, nanoseconds timeout, const sigset_t* mask = nullptr) {
  const auto is_ours = [](const pollfd& one) { return descriptor_of(one.fd) != kHosts; };
  if (std::none_of(fds, fds + count, is_ours)) return host_poll(fds, count, timeout, mask);
  // A number below zero is left out by either kernel.
  std::vector<pollfd> ours(fds, fds + count), theirs(fds, fds + count);
  bool both = false;
  for (nfds_t i = 0; i < count; ++i) {
    ours[i].fd = descriptor_of(fds[i].fd);
    if (ours[i].fd != kHosts) {
      theirs[i].fd = -1;
    } else {
      both = both || fds[i].fd >= 0;
    }
  }
  const long ready = both ? wait_for_both(
                                timeout, [&](nanoseconds time) { return stack_poll(ours.data(), count, time); },
                                [&] { return host_poll(theirs.data(), count, 0ns); })
                          : stack_poll(ours.data(), count, timeout);
  for (nfds_t i = 0; i < count; ++i) fds[i].revents = ours[i].fd >= 0 ? ours[i].revents : both ? theirs[i].revents : short(0);
  return ready;
}

long select_all(int count, fd_set* in, fd_set* out, fd_set* except, nanoseconds timeout, const sigset_t* mask) {
  std::vector<pollfd> fds;
  for (int number = 0; number < count; ++number) {
    const auto wants = [&](const fd_set* set, short events) { return set != nullptr && FD_ISSET(number, set) ? events : short(0); };
    const auto events = short(wants(in, POLLIN) | wants(out, POLLOUT) | wants(except, POLLPRI));
    if (events != 0) fds.push_back({.fd = number, .events = events, .revents = 0});
  }
  if (poll_all(fds.data(), fds.size(), timeout, mask) < 0) return -1;
  for (const pollfd& one : fds) {
    if ((one.revents & POLLNVAL) != 0) return result_of(-EBADF);
  }
  for (fd_set* set : {in, out, except}) {
    if (set != nullptr) FD_ZERO(set);
  }
  long ready = 0;
  for (const pollfd& one : fds) {
    const auto tell = [&](fd_set* set, short wanted, int events) {
      if ((one.events & wanted) == 0 || (one.revents & events) == 0) return;
      FD_SET(one.fd, set);
      ++ready;
    };
    // As select(2) says, in poll(2)'s words.
    tell(in, POLLIN, POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR);
    tell(out, POLLOUT, POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR);
    tell(except, POLLPRI, POLLPRI);
  }
  return ready;
}

/// What an epoll set has besides the host's: a set of the stack. By the number of the host's.
std::mutex g_lock;
std::map<int, int> g_twins;
std::atomic<std::size_t> g_twin_count = 0;

int twin_of(int set) {
  if (g_twin_count == 0) return kHosts;
  const std::lock_guard hold(g_lock);
  const auto found = g_twins.find(set);
  return found != g_twins.end() ? found->second : kHosts;
}

long wait_on_set(int set, epoll_event* events, int most, nanoseconds timeout, const sigset_t* mask) {
  const auto hosts = [&](nanoseconds time) {
    const timespec until = spec_of(time);
    return host_call(SYS_epoll_pwait2, set, events, most, time == kForever ? nullptr : &until, mask, sizeof(long));
  };
  const int twin = twin_of(set);
  if (twin == kHosts || most <= 0) return hosts(timeout);
  long found = 0;
  return wait_for_both(
      timeout,
      [&](nanoseconds time) {
        const timespec until = spec_of(time);
        return found == most ? 0L : stack_call(SYS_epoll_pwait2, twin, events + found, most - found, &until, nullptr, sizeof(long));
      },
      [&] { return found = hosts(0ns); });
}

nanoseconds from_ms(int timeout) { return timeout < 0 ? kForever : nanoseconds(std::chrono::milliseconds(timeout)); }

}  // namespace

void lkm::embed::set_closed(int number) {
  if (g_twin_count == 0) return;
  int twin = kHosts;
  {
    const std::lock_guard hold(g_lock);
    const auto found = g_twins.find(number);
    if (found == g_twins.end()) return;
    twin = found->second;
    g_twins.erase(found);
    g_twin_count = g_twins.size();
  }
  (void)stack_call(SYS_close, twin);
}

extern "C" {

int poll(pollfd* fds, nfds_t count, int timeout) { return int(poll_all(fds, count, from_ms(timeout))); }
int ppoll(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  return int(poll_all(fds, count, from(timeout), mask));
}
int __poll_chk(pollfd* fds, nfds_t count, int timeout, std::size_t room) {
  if (count * sizeof(pollfd) > room) std::abort();
  return poll(fds, count, timeout);
}
int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout, const sigset_t* mask, std::size_t room) {
  if (count * sizeof(pollfd) > room) std::abort();
  return ppoll(fds, count, timeout, mask);
}
int select(int count, fd_set* in, fd_set* out, fd_set* except, timeval* timeout) {
  const auto begin = Clock::now();
  const nanoseconds time =
      timeout == nullptr ? kForever : std::chrono::seconds(timeout->tv_sec) + std::chrono::microseconds(timeout->tv_usec);
  const long ready = select_all(count, in, out, except, time, nullptr);
  if (timeout != nullptr) {  // Linux tells what is left
    const auto left = std::max<nanoseconds>(time - (Clock::now() - begin), 0ns);
    timeout->tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
    timeout->tv_usec = std::chrono::duration_cast<std::chrono::microseconds>(left % std::chrono::seconds(1)).count();
  }
  return int(ready);
}
int pselect(int count, fd_set* in, fd_set* out, fd_set* except, const timespec* timeout, const sigset_t* mask) {
  return int(select_all(count, in, out, except, from(timeout), mask));
}

int epoll_ctl(int set, int operation, int number, epoll_event* event) noexcept {
  const int ours = descriptor_of(number);
  if (ours == kHosts) return int(host_call(SYS_epoll_ctl, set, operation, number, event));
  int twin = twin_of(set);
  if (twin == kHosts) {
    twin = int(stack_call(SYS_epoll_create1, 0));
    if (twin < 0) return -1;
    const std::lock_guard hold(g_lock);
    g_twins[set] = twin;
    g_twin_count = g_twins.size();
  }
  return int(stack_call(SYS_epoll_ctl, twin, operation, ours, event));
}
int epoll_wait(int set, epoll_event* events, int most, int timeout) {
  return int(wait_on_set(set, events, most, from_ms(timeout), nullptr));
}
int epoll_pwait(int set, epoll_event* events, int most, int timeout, const sigset_t* mask) {
  return int(wait_on_set(set, events, most, from_ms(timeout), mask));
}
int epoll_pwait2(int set, epoll_event* events, int most, const timespec* timeout, const sigset_t* mask) {
  return int(wait_on_set(set, events, most, from(timeout), mask));
}

}  // extern "C"
