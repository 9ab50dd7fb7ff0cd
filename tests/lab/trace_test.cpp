// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/trace.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "tests/lab/lab_test.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/lab/scenario_toml.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::shared_ptr<const Trace> trace(const std::string& text) {
  return std::make_shared<const Trace>(Trace::parse(text, "it").value());
}

TEST(ATrace, IsRepeated) {
  const auto it = trace("0\n10\n10\n30\n");
  const std::vector<std::chrono::milliseconds> times = {0ms, 10ms, 10ms, 30ms, 30ms, 40ms, 40ms, 60ms, 60ms, 70ms, 70ms};
  for (std::size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(it->time_of(i), times[i]) << i;
    const auto before = std::ranges::lower_bound(times, times[i]) - times.begin();
    EXPECT_EQ(it->count_before(times[i]), std::uint64_t(before)) << i;
    EXPECT_EQ(it->count_before(times[i] + 1ns), std::uint64_t(std::ranges::upper_bound(times, times[i]) - times.begin()));
  }
  EXPECT_EQ(it->rate(1500), 4u * 1500 * 8 * 1000 / 30);
}

TEST(ATrace, ThatIsNoneIsRefusedWithItsLine) {
  const auto complaint = [](std::string_view text) {
    const auto it = Trace::parse(text, "a.trace");
    return it ? "nothing" : it.error().what();
  };
  EXPECT_EQ(complaint("1\n2"), "nothing");
  EXPECT_EQ(complaint("5\n7\n6\n"), "a.trace:3: 6 comes after 7");
  EXPECT_EQ(complaint("5\n7 \n"), "a.trace:2: '7 '");
  EXPECT_EQ(complaint("5\n\n6\n"), "a.trace:2: ''");
  EXPECT_EQ(complaint("-5\n"), "a.trace:1: '-5'");
  EXPECT_EQ(complaint("5000000000\n"), "a.trace:1: '5000000000'");
  EXPECT_EQ(complaint(""), "a.trace:1: nothing after 0");
  EXPECT_EQ(complaint("0\n0\n"), "a.trace:2: nothing after 0");
}

TEST(ATrace, OfALinkIsAFileBesideTheScenario) {
  const auto dir = TempDir::make();
  ASSERT_TRUE(dir);
  const auto read = [&](const std::string& line) {
    return parse_scenario("[[link]]\na = \"x\"\nb = \"y\"\n" + line + "\n[[flow]]\nfrom = \"x\"\nto = \"y\"\n", "lab.toml",
                          dir->path());
  };
  ASSERT_TRUE(replace_file(dir->path() / "up.trace", "10\n20\n"));
  ASSERT_TRUE(replace_file(dir->path() / "bad.trace", "10\n5\n"));
  const auto scenario = read("trace = \"up.trace\"");
  ASSERT_TRUE(scenario) << scenario.error().message();
  EXPECT_EQ(scenario->links[0].trace->name(), dir->path() / "up.trace");
  EXPECT_EQ(scenario->links[0].trace, scenario->links[0].trace_back);
  const auto again = parse_scenario(to_toml(*scenario), "again.toml", "/elsewhere");
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(to_toml(*again), to_toml(*scenario));
  EXPECT_EQ(read("trace = \"bad.trace\"").error().what(),
            "lab.toml:4:9: " + (dir->path() / "bad.trace").string() + ":2: 5 comes after 10");
  EXPECT_EQ(read("trace = \"nonesuch\"").error().what().substr(0, 14), "lab.toml:4:9: ");
  EXPECT_EQ(read("trace = \"up.trace\"\nrate = \"1mbit\"").error().what(),
            "lab.toml:1:1: link x-y: it has a rate and a trace");
  EXPECT_EQ(read("trace_back = \"up.trace\"").error().what(), "lab.toml:1:1: link x-y: it has a trace in one direction only");
}

TEST(ATrace, OfTheTreeIsWhatItsScriptWrites) {
  const fs::path folder = fs::path(LKM_RUN_SOURCE_DIR) / "examples" / "lab" / "traces";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen((folder / "make-cellular").c_str(), "r"), ::pclose);
  ASSERT_TRUE(pipe);
  std::string text;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe.get())) > 0;) text.append(buffer, n);
  EXPECT_TRUE(text == read_file(folder / "cellular.trace").value());
}

class ALinkWithATrace : public LabTest {
 protected:
  /// A link from x to y with that trace, and back with that.
  static Scenario link(const std::string& there, const std::string& back) {
    Scenario scenario;
    scenario.duration = 3s;
    scenario.links.push_back({.a = "x", .b = "y", .trace = trace(there), .trace_back = trace(back), .delay = 5ms});
    return scenario;
  }
};

TEST_F(ALinkWithATrace, LetsAPacketThroughAtEachOpportunity) {
  Scenario scenario = link("3\n10\n10\n31\n40\n", "1\n");
  scenario.flows.push_back({.kind = FlowKind::kUdp, .from = "x", .to = "y", .rate = 20'000'000, .datagram = 1472});
  options_.capture = true;
  const RunResult result = run(scenario);
  const auto packets = packets_of(result.captures.at("x-y"));
  // The first one had the tokens that the bucket began with.
  const auto base = packets.at(2).at - 10ms;
  ASSERT_GT(packets.size(), 370u);
  for (std::size_t i = 1; i < packets.size(); ++i)
    ASSERT_EQ(packets[i].at - base, scenario.links[0].trace->time_of(i)) << "packet " << i;
  const QueueSample& last = named(result.queues, "x-y").samples.back();
  EXPECT_EQ(last.rate, 11u * 1514 * 8 * 10);  // from 2.9 s on there were eleven
  EXPECT_GT(last.delay, 100ms);
}

TEST_F(ALinkWithATrace, LosesTheOpportunitiesThatNobodyUses) {
  // Requests of one packet; the link opens every 50 ms in one direction, and at once in the other.
  Scenario scenario = link("50\n", "1\n");
  scenario.flows.push_back({.kind = FlowKind::kRequests, .from = "x", .to = "y", .interval = 170ms});
  const RunResult result = run(scenario);
  ASSERT_GT(result.flows[0].latencies.size(), 8u);
  nanoseconds longest{};
  for (const nanoseconds latency : result.flows[0].latencies) longest = std::max(longest, latency);
  EXPECT_GT(longest, 30ms);
  EXPECT_LE(longest, 50ms + 5ms + 1ms + 5ms);
}

TEST_F(ALinkWithATrace, LetsSmallPacketsShareAnOpportunity) {
  // 1448 bytes of payload each 10 ms: an acknowledgement for two of them, and back every 100 ms only.
  Scenario scenario = link("10\n", "100\n");
  scenario.flows.push_back({.from = "x", .to = "y", .control = "reno"});
  const RunResult result = run(scenario);
  const QueueSample& back = named(result.queues, "y-x").samples.back();
  EXPECT_GT(back.sent_packets, 60u);  // in 30 opportunities
  EXPECT_GT(summarise(result).flows[0].goodput, 0.6 * 1448 * 8 * 100);
}

TEST_F(ALinkWithATrace, IsTheSameTwice) {
  Scenario scenario = ready("cellular");
  scenario.duration = 15s;
  EXPECT_TRUE(samples(scenario) == samples(scenario));
}

TEST_F(ALinkWithATrace, CarriesWhatItsTraceAllows) {
  const Scenario scenario = ready("cellular");
  const Summary summary = summarise(run(scenario));
  EXPECT_GT(named(summary.queues, "base-phone").utilisation, 0.95);
  EXPECT_LE(named(summary.queues, "base-phone").utilisation, 1);
}

}  // namespace
}  // namespace lkm::lab
