// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/replay.hpp"

#include "tests/lab/lab_test.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/lab/scenario_toml.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

std::string complaint(std::string_view text) {
  const auto replay = Replay::parse(text, "web.txt");
  return replay ? "nothing" : replay.error().what();
}

TEST(AReplay, NamesTheLineOfAMistake) {
  EXPECT_EQ(complaint("0 100\n12.5 1400\n12.5\t3\n"), "nothing");
  EXPECT_EQ(complaint(""), "web.txt:1: no message");
  EXPECT_EQ(complaint("0 100\n5\n"), "web.txt:2: '5'");
  EXPECT_EQ(complaint("0 100\nfive 5\n"), "web.txt:2: 'five 5'");
  EXPECT_EQ(complaint("0 100\n5 5 5\n"), "web.txt:2: '5 5 5'");
  EXPECT_EQ(complaint("0 100\n5 0\n"), "web.txt:2: '5 0'");
  EXPECT_EQ(complaint("-1 100\n"), "web.txt:1: '-1 100'");
  EXPECT_EQ(complaint("inf 100\n"), "web.txt:1: 'inf 100'");
  EXPECT_EQ(complaint("7 100\n5 5\n"), "web.txt:2: 5 comes before the line above");
}

class AReplayedFlow : public LabTest {};

TEST_F(AReplayedFlow, SendsEachMessageAtItsTime) {
  const auto folder = TempDir::make();
  ASSERT_TRUE(folder);
  ASSERT_TRUE(replace_file(folder->path() / "web.txt", "0 1000\n100 1000\n250.5 500\n300 400000\n310 1000\n5000 1000\n"));
  const auto scenario = parse_scenario(R"(
duration = "2s"
[[link]]
a = "x"
b = "y"
rate = "10mbit"
delay = "20ms"
[[flow]]
kind = "replay"
file = "web.txt"
from = "x"
to = "y"
start = "500ms"
)",
                                       "lab.toml", folder->path());
  ASSERT_TRUE(scenario) << scenario.error().message();
  const RunResult result = run(*scenario);
  const auto& late = result.flows.at(0).latencies;
  // The last one is due after the end of the run.
  ASSERT_EQ(late.size(), 5u);
  EXPECT_EQ(result.flows[0].samples.back().bytes_received, 403'500u);
  // The first waits for the connection: a round trip and one way. Later ones find the link idle, and take one way.
  EXPECT_NEAR(double(late[0] / 1us), 61'000, 1'500);
  EXPECT_NEAR(double(late[1] / 1us), 20'000, 100);
  EXPECT_NEAR(double(late[2] / 1us), 20'000, 100);
  // 400 kB at 10 Mbit/s take a third of a second, and the one behind it waits.
  EXPECT_GT(late[3], 330ms);
  EXPECT_LT(late[3], 500ms);
  EXPECT_NEAR(double((late[4] - late[3]) / 1us), -10'000 + 800, 1'500);
}

TEST_F(AReplayedFlow, NeedsItsFile) {
  const auto scenario = parse_scenario("[[link]]\na = \"x\"\nb = \"y\"\n[[flow]]\nkind = \"replay\"\nfrom = \"x\"\nto = \"y\"\n",
                                       "lab.toml", "/");
  ASSERT_FALSE(scenario);
  EXPECT_EQ(scenario.error().what(), "lab.toml:4:1: flow from x to y: it needs a file with its messages");
}

}  // namespace
}  // namespace lkm::lab
