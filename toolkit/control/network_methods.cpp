// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/network_methods.hpp"

#include <chrono>

#include "toolkit/flow/flows.hpp"
#include "toolkit/flow/json.hpp"
#include "toolkit/net/json.hpp"
#include "toolkit/net/links.hpp"

namespace lkm::control {
namespace {

// Links are changed by one fiber at a time: a second connection waits for its turn.
class LinkTable {
 public:
  explicit LinkTable(Stack& stack) : stack_(stack), links_(stack) {}

  template <typename Change>
  auto change(Change change) {
    while (busy_) stack_.sleep_for(std::chrono::milliseconds(1));
    busy_ = true;
    auto result = change(links_);
    busy_ = false;
    return result;
  }
  [[nodiscard]] std::vector<Link> list() const { return links_.list(); }

 private:
  Stack& stack_;
  Links links_;
  bool busy_ = false;
};

Result<unsigned> id_param(const Json& params) {
  LKM_TRY(const std::int64_t id, integer_param(params, "id", 0));
  if (id <= 0 || id > UINT32_MAX) return fail(EINVAL, "parameter \"id\" must be the number of one");
  return static_cast<unsigned>(id);
}

void add_links(Server& server, Stack& stack) {
  const auto table = std::make_shared<LinkTable>(stack);
  server.add("link.add", [table](Call& call) -> Result<Json> {
    LKM_TRY(const LinkSpec spec, link_spec_from_json(call.params()));
    LKM_TRY(const Link link, table->change([&](Links& links) { return links.add(spec); }));
    return to_json(link);
  });
  server.add("link.del", [table](Call& call) -> Result<Json> {
    LKM_TRY(const auto id, integer_param(call.params(), "id", -1));
    if (id < 0 || id > UINT32_MAX) return fail(EINVAL, "parameter \"id\" must be the number of a link");
    LKM_CHECK(table->change([&](Links& links) { return links.remove(static_cast<unsigned>(id)); }));
    return Json::object();
  });
  server.add("link.list", [table](Call&) -> Result<Json> {
    Json list = Json::array();
    for (const Link& link : table->list()) list.push_back(to_json(link));
    return Json{{"links", std::move(list)}};
  });
}

void add_flows(Server& server, Stack& stack) {
  const auto flows = std::make_shared<Flows>(stack);
  server.add("flow.start", [flows](Call& call) -> Result<Json> {
    LKM_TRY(const FlowSpec spec, flow_spec_from_json(call.params()));
    LKM_TRY(const FlowReport report, flows->start(spec));
    return to_json(report);
  });
  server.add("flow.wait", [flows, &stack](Call& call) -> Result<Json> {
    LKM_TRY(const unsigned id, id_param(call.params()));
    LKM_TRY(const auto every_ns, integer_param(call.params(), "every_ns", 0));
    for (;;) {
      const StackTime deadline =
          every_ns > 0 ? stack.now() + std::chrono::nanoseconds(every_ns) : kForever;
      auto report = flows->wait(id, deadline);
      if (report) return to_json(*report);
      if (report.error().errno_value() != ETIMEDOUT) return Failure(std::move(report).error());
      LKM_TRY(const FlowReport now, flows->report(id));
      LKM_CHECK(call.event({{"flow", to_json(now)}}));
    }
  });
  server.add("flow.stop", [flows](Call& call) -> Result<Json> {
    LKM_TRY(const unsigned id, id_param(call.params()));
    LKM_TRY(const FlowReport report, flows->stop(id));
    return to_json(report);
  });
  server.add("flow.list", [flows](Call&) -> Result<Json> {
    Json list = Json::array();
    for (const FlowReport& report : flows->list()) list.push_back(to_json(report));
    return Json{{"flows", std::move(list)}};
  });
}

}  // namespace

void add_network_methods(Server& server, Stack& stack) {
  add_links(server, stack);
  add_flows(server, stack);
}

}  // namespace lkm::control
