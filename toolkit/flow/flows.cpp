// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/flows.hpp"

namespace lkm {
namespace {

FlowReport numbered(unsigned id, FlowReport report) {
  report.id = id;
  return report;
}

}  // namespace

Result<std::shared_ptr<Flow>> Flows::find(unsigned id) {
  const auto found = flows_.find(id);
  if (found == flows_.end()) return fail_hint(ENOENT, "lkm-run flow list", "flow {}", id);
  return found->second;
}

Result<FlowReport> Flows::start(const FlowSpec& spec) {
  LKM_TRY(auto flow, Flow::start(stack_, spec));
  const unsigned id = ++last_id_;
  flows_.emplace(id, flow);
  return numbered(id, flow->report());
}

Result<FlowReport> Flows::report(unsigned id) {
  LKM_TRY(auto flow, find(id));
  return numbered(id, flow->report());
}

std::vector<FlowReport> Flows::list() {
  const auto flows = flows_;  // report() may block, and others change the map meanwhile
  std::vector<FlowReport> reports;
  for (const auto& [id, flow] : flows) reports.push_back(numbered(id, flow->report()));
  return reports;
}

Result<FlowReport> Flows::wait(unsigned id, StackTime deadline) {
  LKM_TRY(auto flow, find(id));
  if (!flow->wait(deadline))
    return fail(stack_.now() >= deadline ? ETIMEDOUT : EINTR, "wait for the end of flow {}", id);
  return numbered(id, flow->report());
}

Result<FlowReport> Flows::stop(unsigned id, std::chrono::nanoseconds grace) {
  LKM_TRY(auto flow, find(id));
  flow->stop();
  if (!flow->wait(stack_.now() + grace)) {
    flow->abort();
    if (!flow->wait(stack_.now() + grace)) return fail(EBUSY, "end flow {}", id);
  }
  flows_.erase(id);
  return numbered(id, flow->report());
}

}  // namespace lkm
