// SPDX-License-Identifier: GPL-2.0
#pragma once

#include <chrono>
#include <functional>

#include "libos-runtime/host/stack.hpp"

namespace lkm {

/// Waits in stack time until it is so, at most 20 s: how long that takes on a busy machine is nobody's to say. What was
/// waited for is for the test to check.
inline void wait_until(Stack& stack, const std::function<bool()>& so) {
  using namespace std::chrono_literals;
  for (const auto deadline = stack.now() + 20s; !so() && stack.now() < deadline;) stack.sleep_for(5ms);
}

}  // namespace lkm
