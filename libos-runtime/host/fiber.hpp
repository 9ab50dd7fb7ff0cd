// SPDX-License-Identifier: GPL-2.0
//
// Fiber::State: what a fiber and its handles share. It lives until the last of them lets go.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libos-runtime/host/runtime.hpp"

namespace lkm {

struct Fiber::State final : FiberBody {
  State(Runtime& machine, std::function<void()> work) : runtime(machine), body(std::move(work)) {}

  void run() override;
  void ended(bool died) override;
  /// On the calling fiber, or on that of the calling thread.
  void on_fiber(const std::function<void()>& action);
  void wait_for_the_end();

  Runtime& runtime;
  std::function<void()> body;
  libos_task* task = nullptr;  ///< nullptr: it has ended
  int pid = 0;
  FiberEnd end = FiberEnd::kReturned;
  std::vector<libos_task*> joiners;
  std::shared_ptr<State> self;  ///< the fiber's own hold on its state, while it runs
};

}  // namespace lkm
