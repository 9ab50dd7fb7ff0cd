// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/event_loop.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

namespace lkm {

static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLERR == EPOLLERR &&
              POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP && POLLPRI == EPOLLPRI);

Result<EventLoop> EventLoop::create() {
  EventLoop loop;
  LKM_CHECK(loop.open());
  return loop;
}

Result<void> EventLoop::open() {
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail(errno, "epoll_create1");
  kick_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!kick_) return fail(errno, "eventfd");
  // Edge-triggered: each write wakes once, and nobody has to read it.
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = std::uint64_t(kick_.get())}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, kick_.get(), &event) < 0) return fail(errno, "epoll_ctl");
  return {};
}

Result<void> EventLoop::renew() {
  LKM_CHECK(open());
  count_->store(0, std::memory_order_relaxed);
  for (const auto& [fd, entry] : entries_) {
    // One that cannot be waited for any more is for its waiter to find out.
    (void)arm(fd, entry);
  }
  return {};
}

EventLoop::Entry& EventLoop::entry_of(int fd) {
  const auto [it, made] = entries_.try_emplace(fd);
  if (made) it->second.serial = next_serial_++;
  return it->second;
}

epoll_event EventLoop::wanted(int fd, const Entry& entry) {
  epoll_event event{.events = EPOLLONESHOT, .data = {.u64 = std::uint64_t{entry.serial} << 32 | std::uint32_t(fd)}};
  if (entry.ready) event.events = entry.watched | (entry.room ? EPOLLOUT : 0U);
  if (entry.in != nullptr) event.events |= unsigned(entry.in->events);
  if (entry.out != nullptr) event.events |= unsigned(entry.out->events);
  return event;
}

Result<void> EventLoop::arm(int fd, const Entry& entry) {
  epoll_event event = wanted(fd, entry);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) return {};
  // First use of this descriptor, or it was closed and its number is another's now.
  if (errno == ENOENT && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) {
    // A watched device comes in bursts, and a signal for each frame would cost more than it gains.
    if (ring_ != 0 && !entry.ready) ring_for(fd);
    return {};
  }
  return fail(errno, "wait for descriptor {}", fd);
}

void EventLoop::ring_this_thread() { ring_ = ::gettid(); }

/// Best effort: the tick finds what does not ring. Not for a terminal: others have it open too.
void EventLoop::ring_for(int fd) const {
  struct stat st;
  if (::fstat(fd, &st) < 0) return;
  if (!S_ISSOCK(st.st_mode) && !(S_ISCHR(st.st_mode) && ::isatty(fd) == 0)) return;
  const f_owner_ex owner{.type = F_OWNER_TID, .pid = ring_};
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && ::fcntl(fd, F_SETOWN_EX, &owner) == 0) (void)::fcntl(fd, F_SETFL, flags | O_ASYNC);
}

Result<void> EventLoop::add(int fd, Waiter* waiter) {
  Entry& entry = entry_of(fd);
  Waiter*& slot = (waiter->events & POLLOUT) != 0 ? entry.out : entry.in;
  if (slot != nullptr || entry.ready) return fail(EBUSY, "wait for descriptor {}", fd);
  slot = waiter;
  auto armed = arm(fd, entry);
  if (!armed) remove(fd, waiter);
  return armed;
}

void EventLoop::remove(int fd, Waiter* waiter) {
  const auto it = entries_.find(fd);
  if (it == entries_.end()) return;
  Entry& entry = it->second;
  const bool armed = entry.in == waiter || entry.out == waiter;
  if (entry.in == waiter) entry.in = nullptr;
  if (entry.out == waiter) entry.out = nullptr;
  if (entry.in != nullptr || entry.out != nullptr || entry.ready) {
    if (armed) (void)arm(fd, entry);  // the other direction stays
    return;
  }
  // One that has fired is silent. One that has not must go: if the number is given to another file while
  // this one lives on (dup, fork), its event would be taken for the other's.
  if (armed) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  entries_.erase(it);
}

Result<void> EventLoop::watch(int fd, std::function<void(unsigned)> ready, unsigned events) {
  Entry& entry = entry_of(fd);
  if (entry.in != nullptr || entry.out != nullptr || entry.ready) {
    return fail(EBUSY, "watch descriptor {}", fd);
  }
  entry.ready = std::move(ready);
  entry.watched = events;
  epoll_event event = wanted(fd, entry);
  // As a rule it is a new one.
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
  auto armed = arm(fd, entry);
  if (!armed) entries_.erase(fd);
  return armed;
}

Result<void> EventLoop::watch_for(int fd, unsigned events) {
  const auto it = entries_.find(fd);
  if (it == entries_.end() || !it->second.ready) return fail(ENOENT, "watch descriptor {}", fd);
  it->second.watched = events;
  return arm(fd, it->second);
}

Result<void> EventLoop::await_room(int fd, std::function<void()> room) {
  const auto it = entries_.find(fd);
  if (it == entries_.end() || !it->second.ready) return fail(ENOENT, "wait for room in descriptor {}", fd);
  it->second.room = std::move(room);
  return arm(fd, it->second);
}

void EventLoop::unwatch(int fd) {
  entries_.erase(fd);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

int EventLoop::poll(std::array<epoll_event, 64>& events, std::uint64_t timeout_ns) {
  const timespec timeout{.tv_sec = time_t(timeout_ns / 1'000'000'000),
                         .tv_nsec = long(timeout_ns % 1'000'000'000)};
  const int n = ::epoll_pwait2(epoll_.get(), events.data(), int(events.size()),
                               timeout_ns == UINT64_MAX ? nullptr : &timeout, nullptr);
  // A kick has done its work by ending the wait.
  const auto end = std::remove_if(events.begin(), events.begin() + std::max(n, 0),
                                  [&](const auto& event) { return number_of(event) == kick_.get(); });
  return int(end - events.begin());
}

bool EventLoop::collect(std::uint64_t timeout_ns) {
  if (count_->load(std::memory_order_acquire) > 0) return true;  // not delivered yet
  const int n = poll(collected_, timeout_ns);
  count_->store(n, std::memory_order_release);
  return n > 0;
}

void EventLoop::kick() {
  const std::uint64_t one = 1;
  const int saved = errno;
  [[maybe_unused]] const auto n = ::write(kick_.get(), &one, sizeof(one));
  errno = saved;
}

}  // namespace lkm
