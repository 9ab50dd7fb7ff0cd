// SPDX-License-Identifier: GPL-2.0
//
// Scenarios from a few numbers.
#pragma once

#include "toolkit/lab/scenario.hpp"

namespace lkm::lab {

/// Senders on the left, receivers on the right, two routers, and one bottleneck between them:
///
///   s1 ─┐                            ┌─ r1
///   s2 ─┴─ left ══ rate, rtt/2 ══ right ─┴─ r2
struct DumbbellOptions {
  std::vector<std::string> controls = {"cubic"};  ///< one pair of hosts for each
  unsigned flows = 1;                             ///< of each control
  std::uint64_t rate = 50'000'000;                ///< bit/s
  nanoseconds rtt = std::chrono::milliseconds(40);  ///< without queues
  Limit buffer = {1, Limit::Unit::kBdp};
  std::string qdisc;
  bool ecn = false;
  double loss = 0;  ///< from left to right, and back
  nanoseconds duration = std::chrono::seconds(60);
};
Scenario dumbbell(const DumbbellOptions& options);

}  // namespace lkm::lab
