// SPDX-License-Identifier: GPL-2.0
//
// Opportunities: lets packets out of the queues of links that have a trace, when the trace says so. One that comes while
// the queue is empty is lost. Only on fibers.
#pragma once

#include <memory>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/lab/network.hpp"

namespace lkm::lab {

class Opportunities {
 public:
  /// The network must outlive it. A trace begins at `began`.
  static Result<std::unique_ptr<Opportunities>> start(Stack& stack, Network& network, StackTime began);
  ~Opportunities();
  Opportunities(Stack& stack, StackTime began) : stack_(stack), began_(began) {}
  Opportunities(const Opportunities&) = delete;
  Opportunities& operator=(const Opportunities&) = delete;

  /// Of the first one that went wrong.
  [[nodiscard]] const Result<void>& outcome() const { return outcome_; }

 private:
  void drive(const Queue& queue, Gate gate);

  Stack& stack_;
  StackTime began_;
  std::vector<Fiber> fibers_;
  Result<void> outcome_;
  bool ending_ = false;
};

}  // namespace lkm::lab
