// SPDX-License-Identifier: GPL-2.0
//
// EventLoop: one epoll set for all host descriptors of a stack. Fibers wait for a descriptor; devices get
// a callback. The idle loop collects events (off the fibers), and the interrupt handler delivers them.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>

#include "toolkit/base/result.hpp"
#include "toolkit/base/unique_fd.hpp"

struct libos_task;

namespace lkm {

class EventLoop {
 public:
  static Result<EventLoop> create();

  /// A fiber's wait for one descriptor, on its stack.
  struct Waiter {
    libos_task* task = nullptr;
    short events = 0;   ///< poll(2) bits that end the wait
    short revents = 0;  ///< those that came
  };

  /// Arms the wait. EBUSY when another fiber waits for the same direction; else as epoll_ctl(2).
  Result<void> add(int fd, Waiter* waiter);
  /// Disarms it, whether or not it fired.
  void remove(int fd, Waiter* waiter);
  /// Calls `ready` from interrupt context with those of `events` (epoll_ctl(2), EPOLLET among them) that the descriptor
  /// has, or a hang-up or an error. Until unwatch(), which must come before its end.
  Result<void> watch(int fd, std::function<void(unsigned events)> ready, unsigned events = EPOLLIN);
  /// Of a watched descriptor: for other events from now on.
  Result<void> watch_for(int fd, unsigned events);
  /// Of a watched descriptor: calls `room` from interrupt context, once, when it can be written to.
  Result<void> await_room(int fd, std::function<void()> room);
  void unwatch(int fd);
  /// The same for one that is about to be closed, and was watched with EPOLLET: its file takes the watch along, which
  /// saves a call; an event that still comes, because a copy of the process has the file as well, is nobody's.
  void forget(int fd) { entries_.erase(fd); }

  /// Waits at most `timeout_ns` (0: does not wait, UINT64_MAX: for ever) and keeps what came for
  /// deliver(). True when there is something. On one thread only, which need not carry the CPU.
  bool collect(std::uint64_t timeout_ns);
  /// Interrupt context: unparks the fibers and calls the callbacks for what was collected.
  template <typename Unpark>
  void deliver(Unpark unpark);
  /// Makes a collect() that waits, now or next, return. From any thread or signal handler.
  void kick();
  /// From now on the calling thread gets SIGIO when a descriptor that a fiber waits for becomes ready, so
  /// that it need not look while it is busy. For sockets and devices; other files have no such signal.
  void ring_this_thread();
  /// In a copy of the process: another epoll set, which the original does not share, with all that is waited for.
  Result<void> renew();

 private:
  struct Entry {
    Waiter* in = nullptr;
    Waiter* out = nullptr;
    std::function<void(unsigned)> ready;
    unsigned watched = 0;  ///< for `ready`
    std::function<void()> room;
    std::uint32_t serial = 0;  ///< tells it from one that had the number before
  };

  EventLoop() = default;
  Result<void> open();
  Entry& entry_of(int fd);
  [[nodiscard]] static epoll_event wanted(int fd, const Entry& entry);
  Result<void> arm(int fd, const Entry& entry);
  void ring_for(int fd) const;
  int poll(std::array<epoll_event, 64>& events, std::uint64_t timeout_ns);
  template <typename Unpark>
  void deliver(const epoll_event& event, Unpark unpark);
  // What an event carries.
  static int number_of(const epoll_event& event) { return int(event.data.u64 & UINT32_MAX); }
  static std::uint32_t serial_of(const epoll_event& event) { return std::uint32_t(event.data.u64 >> 32); }

  UniqueFd epoll_;
  UniqueFd kick_;
  pid_t ring_ = 0;  ///< thread that gets SIGIO; 0: none
  std::unordered_map<int, Entry> entries_;
  std::uint32_t next_serial_ = 1;
  std::array<epoll_event, 64> collected_{};
  /// Passes `collected_` between them: written by collect() only while it is 0, read by deliver() while not.
  std::unique_ptr<std::atomic<int>> count_ = std::make_unique<std::atomic<int>>(0);
};

template <typename Unpark>
void EventLoop::deliver(Unpark unpark) {
  const int count = count_->load(std::memory_order_acquire);
  for (int i = 0; i < count; ++i) deliver(collected_[std::size_t(i)], unpark);
  if (count > 0) count_->store(0, std::memory_order_release);
}

template <typename Unpark>
void EventLoop::deliver(const epoll_event& event, Unpark unpark) {
  const int fd = number_of(event);
  const auto it = entries_.find(fd);
  if (it == entries_.end() || it->second.serial != serial_of(event)) return;  // removed since
  Entry& entry = it->second;
  if (entry.ready) {
    const auto ready = entry.ready;  // it may unwatch itself
    const unsigned got = event.events & (entry.watched | EPOLLERR | EPOLLHUP);
    if ((event.events & EPOLLOUT) != 0 && entry.room) {
      const auto room = std::exchange(entry.room, nullptr);
      (void)arm(fd, entry);
      room();
    }
    if (got != 0) ready(got);
    return;
  }
  for (Waiter** slot : {&entry.in, &entry.out}) {
    Waiter* waiter = *slot;
    if (waiter == nullptr) continue;
    const auto got = short(event.events & (unsigned(waiter->events) | EPOLLERR | EPOLLHUP));
    if (got == 0) continue;
    waiter->revents = got;
    *slot = nullptr;
    unpark(waiter->task);
  }
  // One-shot: whoever still waits must be armed again.
  if (entry.in != nullptr || entry.out != nullptr) (void)arm(fd, entry);
}

}  // namespace lkm
