// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include "tests/lab/lab_test.hpp"
#include "toolkit/lab/scenario_toml.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kWhole = R"(
title = "two hosts"
seed = 7
duration = "10s"
sample = "10ms"
measure = ["tcp", "queues"]

[sysctl]
"net.ipv4.tcp_ecn" = 1

[[module]]
source = "./mycc"
parameters = "alpha=3"

[[link]]
a = "s[1-3]"
b = "left"

[[link]]
a = "left"
b = "right"
rate = "50mbit"
delay = "20ms"
loss = "0.1%"
limit = "1.5bdp"

[[flow]]
from = "s[1-3]"
to = "right"
cc = "cubic"
ip = "v6"
stagger = "1s"

[[event]]
at = "5s"
link = "left-right"
rate = "10mbit"
)";

/// What parsing this text complains of.
std::string complaint(std::string_view text) {
  const auto scenario = parse_scenario(text, "lab.toml", "/home/me");
  return scenario ? "nothing" : scenario.error().what();
}

const std::string kGood = R"([[link]]
a = "x"
b = "y"
[[flow]]
from = "x"
to = "y"
)";

TEST(AScenarioInToml, IsReadWithItsRangesAndUnits) {
  const auto scenario = parse_scenario(kWhole, "lab.toml", "/home/me");
  ASSERT_TRUE(scenario) << scenario.error().message();
  EXPECT_EQ(scenario->seed, 7u);
  EXPECT_EQ(scenario->duration, 10s);
  ASSERT_EQ(scenario->links.size(), 4u);
  EXPECT_EQ(scenario->links[2].a, "s3");
  EXPECT_EQ(scenario->links[3].rate, 50'000'000u);
  EXPECT_DOUBLE_EQ(scenario->links[3].loss, 0.001);
  EXPECT_EQ(scenario->links[3].limit.unit, Limit::Unit::kBdp);
  ASSERT_EQ(scenario->flows.size(), 3u);
  EXPECT_EQ(scenario->flows[1].from, "s2");
  EXPECT_EQ(scenario->flows[1].ip, IpFamily::kV6);
  EXPECT_TRUE(scenario->measure.queues);
  EXPECT_FALSE(scenario->measure.sojourns);
  EXPECT_EQ(scenario->modules.at(0).source, "/home/me/mycc");
  EXPECT_EQ(scenario->sysctls.at("net.ipv4.tcp_ecn"), "1");
  EXPECT_EQ(scenario->events.at(0).rate, 10'000'000u);
}

TEST(AScenarioInToml, ComesOutAsItWentIn) {
  const auto scenario = parse_scenario(kWhole, "lab.toml", "/home/me");
  ASSERT_TRUE(scenario);
  const std::string text = to_toml(*scenario);
  const auto again = parse_scenario(text, "again.toml", "/elsewhere");
  ASSERT_TRUE(again) << again.error().message() << "\n" << text;
  EXPECT_EQ(to_toml(*again), text);
}

TEST(AScenarioInToml, NamesThePlaceOfAMistake) {
  EXPECT_EQ(complaint(kGood), "nothing");
  EXPECT_EQ(complaint(kGood + "cc = 3\n"), "lab.toml:7:6: 'cc' must be text, in quotes");
  EXPECT_EQ(complaint(kGood + "start = \"5\"\n").substr(0, 14), "lab.toml:7:9: ");
  EXPECT_EQ(complaint(kGood + "colour = \"red\"\n"), "lab.toml:7:1: a flow has no key 'colour'");
  EXPECT_EQ(complaint(kGood + "kind = \"bulky\"\n"),
            "lab.toml:7:8: 'bulky' is no kind: bulk, requests, on-off, poisson, udp, replay");
  EXPECT_EQ(complaint(kGood + "ip = \"6\"\n"), "lab.toml:7:6: '6' is no ip: v4, v6");
  EXPECT_EQ(complaint("measure = \"tcp\"\n" + kGood), "lab.toml:1:11: 'measure' must be a list: [\"tcp\", \"queues\"]");
  EXPECT_EQ(complaint("measure = [\"tcp\", \"all\"]\n" + kGood),
            "lab.toml:1:19: 'measure' is of tcp, queues, sojourns and variables");
  EXPECT_EQ(complaint("measure = [\"sojourns\"]\n" + kGood),
            "lab.toml:1:11: 'measure' with sojourns and without queues");
  EXPECT_EQ(complaint("seed = -1\n" + kGood), "lab.toml:1:8: 'seed' must be a whole number, not negative");
  EXPECT_EQ(complaint("seed = [\n").substr(0, 9), "lab.toml:");
  EXPECT_EQ(complaint(kGood + "[[link]]\na = \"x\"\n"), "lab.toml:7:1: a link needs 'b'");
  EXPECT_EQ(complaint(kGood + "[[flow]]\nfrom = \"x\"\nto = \"nowhere\"\n"), "lab.toml:7:1: no link has a node 'nowhere'");
  EXPECT_EQ(complaint(kGood + "[[event]]\nat = \"1s\"\nlink_down = \"a-b\"\n").substr(0, 14), "lab.toml:7:1: ");
  EXPECT_EQ(complaint(kGood + "[[link]]\na = \"s[3-1]\"\nb = \"y\"\n").substr(0, 14), "lab.toml:7:1: ");
}

TEST(AScenarioInToml, MustBeTimelyAndReachable) {
  EXPECT_EQ(complaint("duration = \"0s\"\n" + kGood), "lab.toml: a run of 0ns is not between 0 and 24h");
  EXPECT_EQ(complaint("duration = \"5s\"\n" + kGood + "start = \"6s\"\n"),
            "lab.toml:5:1: flow from x to y: it starts after the end of the run");
}

TEST(ALimit, NeedsAUnit) {
  EXPECT_EQ(parse_limit("100pkt")->value, 100);
  EXPECT_EQ(parse_limit("64KiB")->value, 65536);
  EXPECT_EQ(parse_limit("0.5bdp")->unit, Limit::Unit::kBdp);
  for (const char* bad : {"", "100", "pkt", "1.5pkt", "0bdp", "1..5bdp", "-1pkt", "9bananas"})
    EXPECT_FALSE(parse_limit(bad)) << bad;
}

TEST(TheReadyScenarios, AreGood) {
  for (const char* name : {"parking-lot", "incast", "bufferbloat", "lossy-wireless", "satellite", "datacentre-ecn",
                           "rate-step", "mixed-rtt", "short-vs-long", "cellular"})
    EXPECT_FALSE(ready(name).flows.empty()) << name;
}

}  // namespace
}  // namespace lkm::lab
