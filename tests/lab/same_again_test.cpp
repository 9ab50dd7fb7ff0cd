// SPDX-License-Identifier: GPL-2.0
//
// A run is a function of its scenario, byte for byte, although each run has its memory elsewhere. (The packets
// themselves: tests/protocols/virtual_time_test.cpp.)
#include "tests/lab/lab_test.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/lab/in_child.hpp"
#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/results.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

class ARun : public LabTest {
 protected:
  static Scenario lossy() {
    Scenario scenario = dumbbell({.controls = {"cubic", "reno", "bbr", "vegas"},
                                  .flows = 3,
                                  .rate = 20'000'000,
                                  .loss = 0.002,
                                  .duration = 10s});
    scenario.links[0].jitter = 1ms;
    scenario.links[0].qdisc = "fq_codel";  // its buckets are a hash with a random seed
    scenario.flows.push_back({.kind = FlowKind::kPoisson, .from = "s1", .to = "r2", .control = "cubic",
                              .bytes = 20'000, .arrivals = 20, .sizes = FlowSpec::Sizes::kPareto});
    scenario.flows.push_back({.kind = FlowKind::kUdp, .from = "s2", .to = "r1", .rate = 500'000});
    scenario.flows.push_back({.kind = FlowKind::kOnOff, .from = "s3", .to = "r3", .on = 300ms, .off = 700ms});
    scenario.sample = 20ms;
    return scenario;
  }
};

TEST_F(ARun, IsTheSameTwice) {
  options_.capture = true;
  const std::string first = samples(lossy());
  EXPECT_GT(first.size(), 100'000u);
  EXPECT_TRUE(first == samples(lossy()));
  EXPECT_TRUE(first == samples(lossy()));
}

TEST_F(ARun, IsTheSameWhenItIsCaptured) {
  const Scenario scenario = dumbbell({.controls = {"reno", "cubic"}, .rate = 20'000'000, .loss = 0.0005, .duration = 10s});
  options_.capture = true;
  auto captured = run_in_child(scenario, options_);
  ASSERT_TRUE(captured) << captured.error().message();
  EXPECT_GT(packets_of(captured->captures.at("left-right")).size(), 20'000u);
  options_.capture = false;
  EXPECT_TRUE(samples_jsonl(*captured) == samples_jsonl(run(scenario)));
}

TEST_F(ARun, IsAnotherWithAnotherSeed) {
  Scenario other = lossy();
  other.seed = 2;
  EXPECT_FALSE(samples(lossy()) == samples(other));
}

TEST_F(ARun, IsTheSameAfterARebuildOfItsModule) {
  const fs::path source = fs::path(LKM_RUN_SOURCE_DIR) / "modules" / "aimd";
  // Built from nothing each time, in folders of their own.
  auto one = TempDir::make("lkm-lab-");
  auto two = TempDir::make("lkm-lab-");
  ASSERT_TRUE(one && two);
  Scenario scenario = lossy();
  for (std::size_t i = 0; i < 4; ++i) scenario.flows[i].control = "aimd";
  scenario.modules = {{built(source, one->path()), ""}};
  const std::string first = samples(scenario);
  scenario.modules = {{built(source, two->path()), ""}};
  EXPECT_TRUE(first == samples(scenario));
}

}  // namespace
}  // namespace lkm::lab
