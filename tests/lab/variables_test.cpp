// SPDX-License-Identifier: GPL-2.0
//
// What a congestion control remembers, out of the kernel's memory by its debug information.
#include "toolkit/lab/variables.hpp"

#include <cmath>

#include "tests/lab/lab_test.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/base/temp_dir.hpp"
#include "toolkit/lab/presets.hpp"
#include "toolkit/lab/results.hpp"

namespace lkm::lab {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::string_view kModule = R"(// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
#include <net/tcp.h>

enum phase { FIRST = 3, SECOND = 7 };

struct shown {
	EXTRA
	u32 window;
	s8 minus;
	u16 odd : 3;
	u16 wide : 13;
	s32 narrow : 5;
	enum phase phase;
	s64 far;
	bool yes;
	void *nobody;
	u8 list[3];
};

static void shown_init(struct sock *sk)
{
	struct shown *shown = inet_csk_ca(sk);

	*shown = (struct shown){ .minus = -3, .odd = 5, .wide = 4097, .narrow = -9, .phase = SECOND,
				 .far = -(1LL << 40), .yes = true, .nobody = shown };
}

static void shown_cong_avoid(struct sock *sk, u32 ack, u32 acked)
{
	struct shown *shown = inet_csk_ca(sk);

	tcp_reno_cong_avoid(sk, ack, acked);
	shown->window = tcp_snd_cwnd(tcp_sk(sk));
}

static struct tcp_congestion_ops ops __read_mostly = {
	.init = shown_init,
	.cong_avoid = shown_cong_avoid,
	.ssthresh = tcp_reno_ssthresh,
	.undo_cwnd = tcp_reno_undo_cwnd,
	.owner = THIS_MODULE,
	.name = "shown",
};

static int __init shown_register(void)
{
	return tcp_register_congestion_control(&ops);
}
module_init(shown_register);

static void __exit shown_unregister(void)
{
	tcp_unregister_congestion_control(&ops);
}
module_exit(shown_unregister);
MODULE_LICENSE("GPL");
)";

class Variable : public LabTest {
 protected:
  /// A plugin of kModule with more members.
  std::string module(const std::string& folder, const std::string& extra) {
    const fs::path source = scratch_->path() / folder / "shown";
    fs::create_directories(source);
    std::string text(kModule);
    text.replace(text.find("EXTRA"), 5, extra);
    EXPECT_TRUE(replace_file(source / "shown.c", text));
    EXPECT_TRUE(replace_file(source / "Kbuild", "obj-m := shown.o\n"));
    return built(source, scratch_->path() / folder);
  }
  static const std::vector<double>& values(const FlowSeries& flow, const std::string& name) {
    return named(flow.variables, "shown." + name).values;
  }

  Result<TempDir> scratch_ = TempDir::make("lkm-lab-");
};

TEST_F(Variable, HasTheValueThatTheModuleGaveIt) {
  ASSERT_TRUE(scratch_);
  Scenario scenario = dumbbell({.controls = {"shown", "cubic"}, .rate = 10'000'000, .duration = 10s});
  scenario.modules = {{module("it", ""), ""}};
  scenario.flows[0].start = 1s;
  const RunResult result = run(scenario);
  const FlowSeries& flow = named(result.flows, "shown");
  ASSERT_EQ(flow.variables.size(), 8u);  // no pointer, no array
  EXPECT_TRUE(named(result.flows, "cubic").variables.empty());

  const std::map<std::string, double> constants = {{"minus", -3},  {"odd", 5},         {"wide", 4097},
                                                   {"narrow", -9}, {"phase", 7},       {"far", -double(1LL << 40)},
                                                   {"yes", 1}};
  unsigned windows = 0;
  for (std::size_t i = 0; i < result.times.size(); ++i) {
    if (!flow.samples[i].connected) {
      EXPECT_LE(result.times[i], 1s + 100ms);
      EXPECT_TRUE(std::isnan(values(flow, "window")[i]));
      continue;
    }
    for (const auto& [name, value] : constants) EXPECT_EQ(values(flow, name)[i], value) << name;
    // cong_avoid() is not called in a recovery.
    windows += values(flow, "window")[i] == flow.samples[i].cwnd;
  }
  EXPECT_GT(windows, 70u);
  const std::string csv = flows_csv(result);
  EXPECT_NE(csv.find(",shown.window,shown.minus,"), std::string::npos);
  EXPECT_NE(csv.find(",-3,5,4097,-9,7,-1099511627776,1\n"), std::string::npos);
  EXPECT_NE(samples_jsonl(result).find(R"("shown.far":-1099511627776)"), std::string::npos);
}

TEST_F(Variable, OfAnotherBuildIsReadAsThatBuildHasIt) {
  ASSERT_TRUE(scratch_);
  Scenario scenario = dumbbell({.controls = {"shown"}, .rate = 10'000'000, .duration = 10s});
  scenario.modules = {{module("before", ""), ""}};
  // In front of all others, so none is where it was.
  const std::string after = module("after", "u64 more;");
  scenario.events = {{.at = 5s + 50ms, .kind = EventSpec::Kind::kSwap, .target = after}};
  const RunResult result = run(scenario);
  const FlowSeries& flow = result.flows[0];
  for (std::size_t i = 1; i < result.times.size(); ++i) {
    EXPECT_EQ(values(flow, "minus")[i], -3);
    EXPECT_EQ(values(flow, "far")[i], -double(1LL << 40));
    EXPECT_EQ(std::isnan(values(flow, "more")[i]), result.times[i] < 5s + 50ms);
  }
}

}  // namespace
}  // namespace lkm::lab
