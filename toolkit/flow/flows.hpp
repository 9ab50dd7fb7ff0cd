// SPDX-License-Identifier: GPL-2.0
//
// Flows: the flows of one stack by number, as the control socket serves them.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <vector>

#include "libos-runtime/host/stack.hpp"
#include "toolkit/base/result.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {

/// Only on fibers, destruction included. Calls that wait let other fibers use it meanwhile.
class Flows {
 public:
  explicit Flows(Stack& stack) : stack_(stack) {}

  /// Numbers count from 1 and are not used again.
  Result<FlowReport> start(const FlowSpec& spec);
  /// Of running and of finished flows. ENOENT when there is none of that number.
  Result<FlowReport> report(unsigned id);
  std::vector<FlowReport> list();
  /// Waits for the flow's own end. ETIMEDOUT at the deadline, EINTR when interrupted.
  Result<FlowReport> wait(unsigned id, StackTime deadline = kForever);
  /// Ends the flow, delivers and checks what is under way, and forgets it. What is not delivered
  /// within `grace` is given up: the flow has failed then.
  Result<FlowReport> stop(unsigned id, std::chrono::nanoseconds grace = std::chrono::seconds(10));

 private:
  Result<std::shared_ptr<Flow>> find(unsigned id);

  Stack& stack_;
  std::map<unsigned, std::shared_ptr<Flow>> flows_;
  unsigned last_id_ = 0;
};

}  // namespace lkm
