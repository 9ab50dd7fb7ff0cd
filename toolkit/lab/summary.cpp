// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/summary.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

constexpr nanoseconds kWindow = 1s;     // over which goodputs are compared
constexpr nanoseconds kSteadyFor = 5s;  // how long they must be alike
constexpr double kAlike = 0.9;          // Jain's index

double seconds(nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

/// The first sample at or after that moment; the last one if there is none.
std::size_t index_at(const RunResult& run, nanoseconds at) {
  const auto found = std::ranges::lower_bound(run.times, at);
  return std::min(std::size_t(found - run.times.begin()), run.times.size() - 1);
}

double rate_between(const RunResult& run, const FlowSeries& flow, std::size_t from, std::size_t to) {
  const double time = seconds(run.times[to] - run.times[from]);
  if (time <= 0) return 0;
  return double(flow.samples[to].bytes_received - flow.samples[from].bytes_received) * 8 / time;
}

double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

FlowSummary summarise(const RunResult& run, const FlowSeries& flow) {
  FlowSummary out{.name = flow.name, .control = flow.control, .latency_ms = {}, .error = flow.error};
  const std::size_t from = index_at(run, flow.start);
  const std::size_t to = index_at(run, flow.stop);
  out.goodput = rate_between(run, flow, from, to);
  out.steady = rate_between(run, flow, from + (to - from) / 2, to);
  std::vector<double> rtts;
  double cwnds = 0;
  std::uint64_t segments = 0;
  for (const FlowSample& sample : flow.samples) {
    if (!sample.connected) continue;
    rtts.push_back(sample.srtt_us / 1e3);
    cwnds += sample.cwnd;
    out.retransmits = sample.retransmits;
    segments = sample.segments_out;
  }
  out.srtt_ms = quantiles(rtts).p50;
  out.cwnd = share(cwnds, double(rtts.size()));
  out.retransmitted = share(double(out.retransmits), double(segments));
  if (flow.datagrams_sent > 0) out.lost = 1 - double(flow.datagrams_received) / double(flow.datagrams_sent);
  std::vector<double> latencies;
  for (const nanoseconds latency : flow.latencies) latencies.push_back(seconds(latency) * 1e3);
  out.completed = latencies.size();
  out.latency_ms = quantiles(std::move(latencies));
  out.failures = flow.failures;
  return out;
}

QueueSummary summarise(const RunResult& run, const QueueSeries& queue) {
  QueueSummary out{.name = queue.name, .delay_ms = {}};
  std::vector<double> delays;
  double could = 0;
  for (std::size_t i = 0; i < queue.samples.size(); ++i) {
    delays.push_back(seconds(queue.samples[i].delay) * 1e3);
    if (i > 0) could += double(queue.samples[i].rate) / 8 * seconds(run.times[i] - run.times[i - 1]);
  }
  const QueueSample& last = queue.samples.back();
  const auto sojourn = [&](double share) { return seconds(queue.sojourns.quantile(share)) * 1e3; };
  out.delay_ms = queue.sojourns.count > 0 ? Quantiles{sojourn(0.50), sojourn(0.95), sojourn(0.99)}
                                          : quantiles(std::move(delays));
  out.utilisation = share(double(last.sent_bytes), could);
  out.dropped = last.drops;
  out.marked = last.marks;
  const double came = double(last.sent_packets + last.packets + last.drops);
  out.drops = share(double(last.drops), came);
  out.marks = share(double(last.marks), came);
  return out;
}

void compare(const RunResult& run, Summary& summary) {
  std::vector<const FlowSeries*> bulk;
  nanoseconds from{}, to = nanoseconds::max();
  for (const FlowSeries& flow : run.flows) {
    if (flow.kind != FlowKind::kBulk) continue;
    bulk.push_back(&flow);
    from = std::max(from, flow.start);
    to = std::min(to, flow.stop);
  }
  if (bulk.size() < 2 || to <= from) return;
  const auto index_between = [&](std::size_t a, std::size_t b) {
    std::vector<double> rates;
    for (const FlowSeries* flow : bulk) rates.push_back(rate_between(run, *flow, a, b));
    return fairness(rates);
  };
  const std::size_t first = index_at(run, from);
  const std::size_t last = index_at(run, to);
  summary.fairness = index_between(first, last);
  std::optional<nanoseconds> alike_since;
  for (std::size_t i = first; i <= last; ++i) {
    const std::size_t end = index_at(run, run.times[i] + kWindow);
    if (run.times[end] > to || end == i) break;
    if (index_between(i, end) < kAlike) {
      alike_since.reset();
      continue;
    }
    if (!alike_since) alike_since = run.times[i];
    if (run.times[end] - *alike_since >= kSteadyFor) {
      summary.convergence = *alike_since - from;
      return;
    }
  }
}

}  // namespace

Quantiles quantiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto rank = [&](double p) {
    const auto n = std::size_t(std::ceil(p * double(values.size())));
    return values[std::clamp<std::size_t>(n, 1, values.size()) - 1];
  };
  return {rank(0.50), rank(0.95), rank(0.99)};
}

double fairness(const std::vector<double>& shares) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  double squares = 0;
  for (const double one : shares) squares += one * one;
  return squares > 0 ? sum * sum / (double(shares.size()) * squares) : 1;
}

Summary summarise(const RunResult& run) {
  Summary summary;
  for (const FlowSeries& flow : run.flows) summary.flows.push_back(summarise(run, flow));
  for (const QueueSeries& queue : run.queues) summary.queues.push_back(summarise(run, queue));
  compare(run, summary);
  return summary;
}

}  // namespace lkm::lab
