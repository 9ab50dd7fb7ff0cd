// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/in_child.hpp"

#include <csignal>

#include "tests/lab/lab_test.hpp"
#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/results.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

class InAChild : public LabTest {
 protected:
  const Scenario scenario_ = dumbbell({.controls = {"cubic", "reno"}, .rate = 10'000'000, .loss = 0.001, .duration = 5s});
};

TEST_F(InAChild, ARunIsTheSameAsHere) {
  std::string log;
  options_.capture = true;
  options_.console = [&](std::string_view text) { log += text; };
  const auto there = run_in_child(scenario_, options_);
  ASSERT_TRUE(there) << there.error().message();
  EXPECT_NE(log.find("Linux version"), std::string::npos);
  const RunResult here = run(scenario_);
  EXPECT_EQ(samples_jsonl(*there), samples_jsonl(here));
  EXPECT_EQ(to_json(summarise(*there)), to_json(summarise(here)));
  EXPECT_EQ(about_json(*there, scenario_), about_json(here, scenario_));
  EXPECT_EQ(there->captures, here.captures);
}

TEST_F(InAChild, AnErrorIsTheSameAsHere) {
  const auto there = run_in_child(dumbbell({.controls = {"nonesuch"}, .duration = 1s}), options_);
  const auto here = lab::run(dumbbell({.controls = {"nonesuch"}, .duration = 1s}), options_);
  ASSERT_FALSE(there);
  ASSERT_FALSE(here);
  EXPECT_EQ(there.error().message(), here.error().message());
  EXPECT_EQ(there.error().hint(), here.error().hint());
}

TEST_F(InAChild, ADeathIsAnError) {
  Scenario scenario = scenario_;
  scenario.modules.push_back({"it", ""});
  options_.plugins_of = [](const std::string&) -> Result<std::vector<std::string>> {
    std::raise(SIGKILL);
    return {};
  };
  const auto result = run_in_child(scenario, options_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), std::errc::no_child_process);
  EXPECT_NE(result.error().what().find("signal 9"), std::string::npos) << result.error().what();
}

}  // namespace
}  // namespace lkm::lab
