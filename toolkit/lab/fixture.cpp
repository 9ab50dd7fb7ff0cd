// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/fixture.hpp"

#include <cstdlib>
#include <regex>
#include <sstream>
#include <stdexcept>

#include "toolkit/lab/in_child.hpp"

namespace lkm::lab {
namespace {

template <typename One>
const One& named(const std::vector<One>& all, const std::string& name, const char* kind) {
  std::string there;
  for (const One& one : all) {
    if (one.name == name) return one;
    there += (there.empty() ? "" : ", ") + one.name;
  }
  throw std::out_of_range(fmt::format("no {} '{}'; there are {}", kind, name, there));
}

std::string describe(const Error& error) {
  return error.hint().empty() ? error.message() : fmt::format("{}\nHINT: {}", error.message(), error.hint());
}

}  // namespace

const FlowSummary& Outcome::flow(const std::string& name) const { return named(summary.flows, name, "flow"); }

const QueueSummary& Outcome::queue(const std::string& name) const { return named(summary.queues, name, "queue"); }

void ScenarioTest::SetUp() {
  const char* image = std::getenv("LKM_RUN_IMAGE");
  const char* modules = std::getenv("LKM_RUN_MODULES");
  if (image == nullptr || modules == nullptr)
    FAIL() << "$LKM_RUN_IMAGE or $LKM_RUN_MODULES is not set\nHINT: lkm-run test DIR sets them, builds the module, and runs this";
  options_.image = image;
  std::istringstream in(modules);
  for (std::string module; std::getline(in, module, ':');) modules_.push_back(module);
}

Outcome ScenarioTest::run(const Scenario& scenario) {
  Scenario with_modules = scenario;
  with_modules.modules.clear();
  for (const std::string& module : modules_)
    with_modules.modules.push_back({module, &module == &modules_.back() ? parameters : ""});
  with_modules.modules.insert(with_modules.modules.end(), scenario.modules.begin(), scenario.modules.end());
  std::string log;
  options_.console = [&](std::string_view text) { log += text; };
  auto result = run_in_child(with_modules, options_);
  if (std::regex_search(log, std::regex("WARNING:|BUG:|Oops|Call Trace")))
    throw std::runtime_error("the kernel complains:\n" + log);
  if (!result) throw std::runtime_error(describe(result.error()));
  for (const FlowSeries& flow : result->flows) {
    if (!flow.error.empty()) throw std::runtime_error(fmt::format("flow {}: {}", flow.name, flow.error));
  }
  for (const EventResult& event : result->events) {
    if (!event.error.empty()) throw std::runtime_error(fmt::format("{}: {}", event.what, event.error));
  }
  Summary summary = summarise(*result);
  return {std::move(*result), std::move(summary)};
}

}  // namespace lkm::lab
