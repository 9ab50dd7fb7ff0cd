// SPDX-License-Identifier: GPL-2.0
#include "libos-runtime/host/fiber.hpp"

#include "toolkit/base/assert.hpp"

namespace lkm {

void Fiber::State::run() {
  task = runtime.kernel().self();
  body();
  body = nullptr;  // what it captured ends with it, on its own fiber
}

void Fiber::State::ended(bool died) {
  if (died) end = FiberEnd::kOopsed;
  task = nullptr;
  for (libos_task* joiner : joiners) runtime.kernel().unpark(joiner);
  const auto last = std::move(self);
}

void Fiber::State::on_fiber(const std::function<void()>& action) {
  if (runtime.on_fiber()) {
    action();
  } else {
    (void)runtime.call(action);  // a stack that is not running any more has no fibers
  }
}

void Fiber::State::wait_for_the_end() {
  runtime.host_wait_begins();  // whether anybody waits for stack time is up to the other one
  while (task != nullptr) {
    joiners.push_back(runtime.kernel().self());
    runtime.kernel().park(UINT64_MAX);
    std::erase(joiners, runtime.kernel().self());
  }
  runtime.host_wait_ends();
}

FiberEnd Fiber::join() {
  LKM_ASSERT(state_);
  state_->on_fiber([this] { state_->wait_for_the_end(); });
  return state_->end;
}

void Fiber::interrupt() {
  if (!state_) return;
  state_->on_fiber([this] {
    if (state_->task != nullptr) state_->runtime.kernel().interrupt(state_->task);
  });
}

void Fiber::unpark() {
  if (!state_) return;
  state_->on_fiber([this] {
    if (state_->task != nullptr) state_->runtime.kernel().unpark(state_->task);
  });
}

bool Fiber::done() const { return !state_ || state_->task == nullptr; }

int Fiber::pid() const { return state_ ? state_->pid : 0; }

}  // namespace lkm
