// SPDX-License-Identifier: GPL-2.0
//
// Summary: a run in a few numbers.
#pragma once

#include <optional>

#include "toolkit/lab/run.hpp"

namespace lkm::lab {

/// Nearest-rank percentiles; zero of nothing.
struct Quantiles {
  double p50 = 0, p95 = 0, p99 = 0;
};
Quantiles quantiles(std::vector<double> values);

/// Jain's index of fairness: 1 when all are equal, 1/n when one has it all (Jain, Chiu and Hawe 1984). 1 of nothing.
double fairness(const std::vector<double>& shares);

struct FlowSummary {
  std::string name, control;
  double goodput = 0;    ///< bit/s that the receiver's program got, mean from the flow's start to its stop
  double steady = 0;     ///< the same, over the second half of that time
  double retransmitted = 0;  ///< share of the segments sent that were sent again
  double srtt_ms = 0;    ///< median of the samples
  double cwnd = 0;       ///< mean of the samples, segments
  std::uint64_t retransmits = 0;
  double lost = 0;       ///< UDP: share of datagrams that did not arrive by the end
  std::size_t completed = 0;  ///< requests, or transfers
  Quantiles latency_ms;  ///< of those
  std::uint64_t failures = 0;
  std::string error;
};

struct QueueSummary {
  std::string name;
  double utilisation = 0;  ///< share of the link's rate that was used
  /// Of the packets that left: how long they were in the queue. When that was not measured, of the samples: how long the
  /// last packet in the queue will wait.
  Quantiles delay_ms;
  double drops = 0;        ///< share of the packets that came
  double marks = 0;
  std::uint64_t dropped = 0, marked = 0;
};

struct Summary {
  std::vector<FlowSummary> flows;
  std::vector<QueueSummary> queues;
  /// Of the goodputs of bulk flows, over the time in which all of them run; nothing for fewer than two.
  std::optional<double> fairness;
  /// From the start of the last bulk flow until the index of goodputs over a second is at least 0.9 and stays there for
  /// five seconds; nothing when that never was.
  std::optional<nanoseconds> convergence;
};
Summary summarise(const RunResult& run);

}  // namespace lkm::lab
