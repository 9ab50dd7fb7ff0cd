// SPDX-License-Identifier: GPL-2.0
#include "toolkit/lab/report.hpp"

#include <nlohmann/json.hpp>
#include <regex>

#include "tests/lab/lab_test.hpp"
#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/results.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;

using AReport = LabTest;

/// The JSON that the page draws.
nlohmann::json data_of(const std::string& page) {
  const std::string open = R"(<script type="application/json" id="run">)";
  const auto from = page.find(open) + open.size();
  return nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
}

TEST_F(AReport, HasEverythingInIt) {
  Scenario scenario = dumbbell({.controls = {"cubic", "reno"}, .rate = 10'000'000, .duration = 5s});
  scenario.title = "</script><b>evil & co";
  const RunResult result = run(scenario);
  const std::string page = html_report(report_data(result, scenario, summarise(result), "lkm-run lab it"));
  // Nothing comes from elsewhere, and no part is missing. uPlot's own banner names its home, in a comment.
  EXPECT_FALSE(std::regex_search(page, std::regex("(src|href)\\s*=")));
  EXPECT_EQ(page.find("@UPLOT"), std::string::npos);
  EXPECT_NE(page.find("const lab = "), std::string::npos);
  EXPECT_NE(page.find("lab.draw(read("), std::string::npos);
  EXPECT_NE(page.find("var uPlot=function"), std::string::npos);
  EXPECT_NE(page.find("<title>&lt;/script>"), std::string::npos);

  const auto data = data_of(page);
  EXPECT_EQ(data["about"]["title"], scenario.title);
  EXPECT_EQ(data["about"]["clock"], "virtual");
  EXPECT_EQ(data["command"], "lkm-run lab it");
  EXPECT_EQ(data["summary"]["flows"].size(), 2u);
  EXPECT_TRUE(data["summary"].contains("fairness"));
  const std::size_t samples = result.times.size();
  EXPECT_EQ(data["time_s"].size(), samples);
  EXPECT_EQ(samples, 51u);
  ASSERT_EQ(data["plots"].size(), 10u);
  for (const auto& plot : data["plots"]) {
    for (const auto& series : plot["series"]) EXPECT_EQ(series["values"].size(), samples) << plot["title"];
  }
  EXPECT_EQ(data["plots"][0]["series"][1]["name"], "reno");
}

TEST_F(AReport, GoesWithSamplesForPrograms) {
  const Scenario scenario = dumbbell({.rate = 10'000'000, .duration = 2s});
  const RunResult result = run(scenario);
  const std::string flows = flows_csv(result);
  EXPECT_TRUE(flows.starts_with("time_s,flow,cwnd_segments,ssthresh_segments,mss_bytes,srtt_us,"));
  EXPECT_EQ(std::ranges::count(flows, '\n'), 1 + 21);
  EXPECT_EQ(std::ranges::count(queues_csv(result), '\n'), 1 + 2 * 21);
  std::string lines = samples_jsonl(result);
  std::size_t n = 0;
  for (std::size_t at = 0; at < lines.size(); ++n) {
    const auto end = lines.find('\n', at);
    const auto line = nlohmann::json::parse(lines.substr(at, end - at));
    EXPECT_EQ(line["v"], 1);
    at = end + 1;
  }
  EXPECT_EQ(n, 3 * 21u);
}

}  // namespace
}  // namespace lkm::lab
