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
  /// Calls `ready` from interrupt context whenever the descriptor has input. Until unwatch().
  Result<void> watch(int fd, std::function<void()> ready);
  /// Of a watched descriptor: calls `room` from interrupt context, once, when it can be written to.
  Result<void> await_room(int fd, std::function<void()> room);
  void unwatch(int fd);

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
    std::function<void()> ready;
    std::function<void()> room;
  };

  EventLoop() = default;
  Result<void> open();
  Result<void> arm(int fd, const Entry& entry);
  void ring_for(int fd) const;
  int poll(std::array<epoll_event, 64>& events, std::uint64_t timeout_ns);
  template <typename Unpark>
  void deliver(const epoll_event& event, Unpark unpark);

  UniqueFd epoll_;
  UniqueFd kick_;
  pid_t ring_ = 0;  ///< thread that gets SIGIO; 0: none
  std::unordered_map<int, Entry> entries_;
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
  const auto it = entries_.find(event.data.fd);
  if (it == entries_.end()) return;  // removed since
  Entry& entry = it->second;
  if (entry.ready) {
    const auto ready = entry.ready;  // it may unwatch itself
    if ((event.events & EPOLLOUT) != 0 && entry.room) {
      const auto room = std::exchange(entry.room, nullptr);
      (void)arm(event.data.fd, entry);
      room();
    }
    if ((event.events & ~EPOLLOUT) != 0) ready();
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
  if (entry.in != nullptr || entry.out != nullptr) (void)arm(event.data.fd, entry);
}

}  // namespace lkm
