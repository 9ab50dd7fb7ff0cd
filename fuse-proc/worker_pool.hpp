// SPDX-License-Identifier: GPL-2.0
//
// WorkerPool: fibers for work in the stack that may block for long, and that may oops.
//
// A job gets a fiber for itself: one that is idle, or a new one. A fiber that oopses in the kernel
// is gone, and its C++ frames are never unwound; so each worker has a guard, a second fiber that
// does nothing but join() it, and that tells the job. All that a job needs lives in the Job, not in
// frames.
//
// A job that was interrupted takes its fiber with it: the interrupt may have come too late for it
// and would otherwise end a wait of the next job.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libos-runtime/host/stack.hpp"

namespace lkm::fuse {

struct Worker;

class Job {
 public:
  virtual ~Job() = default;
  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Ends a wait of run() with EINTR, once. When run() has not begun it is left to it to look at
  /// interrupted() first. Callable from any fiber.
  void interrupt();

 protected:
  /// The work, on a worker fiber.
  virtual void run() = 0;
  /// The worker died inside run(), or there was no memory for one.
  virtual void abandoned() = 0;
  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  friend class WorkerPool;
  Worker* worker_ = nullptr;  // while run() runs
  bool interrupted_ = false;
};

class WorkerPool : public std::enable_shared_from_this<WorkerPool> {
 public:
  /// `name` is what the fibers are called in the stack's /proc. `on_empty` is called when the last
  /// worker ended after stop().
  WorkerPool(Stack& stack, std::string name, std::function<void()> on_empty);

  /// Does not wait. Only on a fiber.
  void start(std::shared_ptr<Job> job);
  /// Interrupts every job and lets all workers go; a job that is started later is abandoned.
  void stop();
  /// No worker is left.
  [[nodiscard]] bool empty() const { return workers_.empty(); }

 private:
  void guard(const std::shared_ptr<Worker>& worker);
  void work(Worker& worker);

  Stack& stack_;
  std::string name_;
  std::function<void()> on_empty_;
  std::vector<std::shared_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
  bool stopping_ = false;
};

}  // namespace lkm::fuse
