// SPDX-License-Identifier: GPL-2.0
#include "fuse-proc/worker_pool.hpp"

#include <algorithm>
#include <utility>

namespace lkm::fuse {

// Idle workers that are kept. A shell pipeline has two or three requests under way at a time.
constexpr std::size_t kIdleWorkers = 4;

struct Worker {
  Fiber fiber;
  std::shared_ptr<Job> job;  // none while idle
};

void Job::interrupt() {
  interrupted_ = true;
  if (worker_ != nullptr) worker_->fiber.interrupt();
}

WorkerPool::WorkerPool(Stack& stack, std::string name, std::function<void()> on_empty)
    : stack_(stack), name_(std::move(name)), on_empty_(std::move(on_empty)) {}

void WorkerPool::start(std::shared_ptr<Job> job) {
  if (stopping_) return job->abandoned();
  if (!idle_.empty()) {
    Worker* const worker = idle_.back();
    idle_.pop_back();
    worker->job = std::move(job);
    worker->fiber.unpark();
    return;
  }
  auto worker = std::make_shared<Worker>();
  worker->job = std::move(job);
  workers_.push_back(worker);
  const auto guard_fiber =
      stack_.spawn(name_ + "-guard", [pool = shared_from_this(), worker] { pool->guard(worker); });
  if (!guard_fiber) {
    std::erase(workers_, worker);
    worker->job->abandoned();
  }
}

void WorkerPool::guard(const std::shared_ptr<Worker>& worker) {
  auto fiber = stack_.spawn(name_, [pool = shared_from_this(), worker] {
    pool->stack_.prefer_latency();
    while (!worker->fiber) pool->stack_.yield();  // until the guard has stored our handle
    pool->work(*worker);
  });
  const bool done = fiber && (worker->fiber = *fiber).join() == FiberEnd::kReturned;
  if (!done) {
    if (const auto job = std::move(worker->job)) {
      job->worker_ = nullptr;
      job->abandoned();
    }
  }
  std::erase(idle_, worker.get());
  std::erase(workers_, worker);
  if (stopping_ && workers_.empty()) on_empty_();
}

void WorkerPool::work(Worker& worker) {
  for (;;) {
    worker.job->worker_ = &worker;
    worker.job->run();
    worker.job->worker_ = nullptr;
    const bool tainted = worker.job->interrupted_;
    worker.job.reset();
    if (tainted || idle_.size() >= kIdleWorkers) return;
    idle_.push_back(&worker);
    while (!worker.job) {
      if (stopping_) return;
      stack_.park();
    }
  }
}

void WorkerPool::stop() {
  stopping_ = true;
  idle_.clear();
  for (const auto& worker : workers_) {
    if (worker->job) {
      worker->job->interrupt();
    } else if (worker->fiber) {
      worker->fiber.unpark();
    }
  }
  if (workers_.empty()) on_empty_();
}

}  // namespace lkm::fuse
