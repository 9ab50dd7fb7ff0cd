// SPDX-License-Identifier: GPL-2.0
//
// What the congestion controls of modules/ do to traffic, over an emulated bottleneck in virtual
// time: a minute of it takes a second or two, and comes out the same each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/modules/module_test.hpp"
#include "toolkit/flow/flow.hpp"
#include "toolkit/net/links.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMbit = 1'000'000;

class Modules : public ModuleTest {};

/// Netns "left" and "right", with this bottleneck between them.
void make_link(Stack& stack, LinkSpec spec) {
  Links links(stack);
  spec.a = "left";
  spec.b = "right";
  const auto link = links.add(spec);
  ASSERT_TRUE(link) << link.error().message();
}

void load(Stack& stack, const std::string& plugin, const std::string& parameters = "") {
  const auto module = stack.load(plugin, parameters);
  ASSERT_TRUE(module) << module.error().message();
}

std::shared_ptr<Flow> start(Stack& stack, const std::string& control) {
  auto flow =
      Flow::start(stack, {.route = {.client = "left", .server = "right", .control = control}});
  EXPECT_TRUE(flow) << flow.error().message();
  return flow ? *flow : nullptr;
}

FlowReport finish(Stack& stack, const std::shared_ptr<Flow>& flow) {
  flow->stop();
  EXPECT_TRUE(flow->wait(stack.now() + 60s));
  FlowReport report = flow->report();
  EXPECT_EQ(report.state, FlowState::kDone) << report.error;
  EXPECT_EQ(report.bytes_verified, report.bytes_sent);
  return report;
}

/// What several flows did in a stretch of time.
struct Share {
  double rate = 0;                  ///< bit/s received
  std::chrono::microseconds rtt{};  ///< mean of what the sender saw
};

std::vector<Share> measure(Stack& stack, const std::vector<std::shared_ptr<Flow>>& flows,
                           std::chrono::seconds time) {
  std::vector<Share> shares(flows.size());
  std::vector<std::uint64_t> before;
  for (const auto& flow : flows) before.push_back(flow->report().bytes_received);
  constexpr auto kStep = 50ms;
  const auto steps = time / kStep;
  for (auto step = steps; step > 0; --step) {
    stack.sleep_for(kStep);
    for (std::size_t i = 0; i < flows.size(); ++i) {
      if (const auto tcp = flows[i]->report().tcp) shares[i].rtt += tcp->rtt / steps;
    }
  }
  for (std::size_t i = 0; i < flows.size(); ++i) {
    shares[i].rate =
        double(flows[i]->report().bytes_received - before[i]) * 8 / double(time.count());
  }
  return shares;
}

Share run_alone(Stack& stack, const std::string& control, std::chrono::seconds warm_up,
                std::chrono::seconds time) {
  const auto flow = start(stack, control);
  if (!flow) return {};
  stack.sleep_for(warm_up);
  const Share share = measure(stack, {flow}, time)[0];
  const FlowReport report = finish(stack, flow);
  EXPECT_EQ(report.client_control, control);
  return share;
}

void expect_parameter(Stack& stack, const std::string& path, const std::string& value, int error) {
  const auto before = stack.read_file(path);
  ASSERT_TRUE(before) << before.error().message();
  const auto written = stack.write_file(path, value);
  const auto after = stack.read_file(path);
  if (error == 0) {
    EXPECT_TRUE(written) << path << " = " << value << ": " << written.error().message();
    EXPECT_EQ(*after, value + "\n") << path;
  } else {
    ASSERT_FALSE(written) << path << " took " << value;
    EXPECT_EQ(written.error().errno_value(), error) << written.error().message();
    EXPECT_EQ(*after, *before) << path;
  }
}

TEST_F(Modules, AimdFillsABottleneck) {
  with("aimd", [](Stack& stack, const std::string& plugin) {
    load(stack, plugin);
    make_link(stack, {.rate = 20 * kMbit, .delay = 20ms});
    const Share share = run_alone(stack, "aimd", 5s, 30s);
    EXPECT_GT(share.rate, 0.85 * 20 * kMbit);
  });
}

TEST_F(Modules, AimdWithMoreAlphaTakesMore) {
  with("aimd", [](Stack& stack, const std::string& plugin) {
    load(stack, plugin, "alpha=8");
    make_link(stack, {.rate = 20 * kMbit, .delay = 20ms});
    const auto aimd = start(stack, "aimd");
    const auto reno = start(stack, "reno");
    ASSERT_TRUE(aimd && reno);
    stack.sleep_for(10s);
    auto shares = measure(stack, {aimd, reno}, 30s);
    EXPECT_GT(shares[0].rate, 1.5 * shares[1].rate);

    // As the text in aimd.c says: with Reno's parameters it is Reno's equal.
    ASSERT_TRUE(stack.write_file("/sys/module/aimd/parameters/alpha", "1"));
    stack.sleep_for(20s);
    shares = measure(stack, {aimd, reno}, 100s);
    EXPECT_LT(shares[0].rate, 1.5 * shares[1].rate);
    EXPECT_GT(shares[0].rate, shares[1].rate / 1.5);
    finish(stack, aimd);
    finish(stack, reno);
  });
}

TEST_F(Modules, AimdRefusesBadParameters) {
  with("aimd", [](Stack& stack, const std::string& plugin) {
    for (const char* bad : {"alpha=0", "alpha=65", "alpha=-1", "alpha=x", "alpha=", "alpha",
                            "beta=0", "beta=91", "beta=99999999999999999999"}) {
      const auto module = stack.load(plugin, bad);
      ASSERT_FALSE(module) << bad;
      EXPECT_EQ(module.error().errno_value(), EINVAL) << bad << ": " << module.error().message();
    }
    load(stack, plugin, "alpha=3 beta=40");
    const std::string folder = "/sys/module/aimd/parameters/";
    EXPECT_EQ(stack.read_file(folder + "alpha").value(), "3\n");
    EXPECT_EQ(stack.read_file(folder + "beta").value(), "40\n");
    expect_parameter(stack, folder + "alpha", "64", 0);
    expect_parameter(stack, folder + "alpha", "65", EINVAL);
    expect_parameter(stack, folder + "beta", "0", EINVAL);
    expect_parameter(stack, folder + "beta", "50 ", EINVAL);
  });
}

TEST_F(Modules, GradientFillsABottleneckAndKeepsTheQueueShort) {
  with("gradient", [](Stack& stack, const std::string& plugin) {
    load(stack, plugin);
    // A deep buffer, half a second: cubic fills it.
    make_link(stack, {.rate = 20 * kMbit, .delay = 20ms, .queue = 830});
    const Share cubic = run_alone(stack, "cubic", 5s, 25s);
    const Share gradient = run_alone(stack, "gradient", 5s, 25s);
    EXPECT_GT(gradient.rate, 0.9 * 20 * kMbit);
    EXPECT_LT(gradient.rtt, 40ms + 15ms);
    EXPECT_LT(gradient.rtt - 40ms, (cubic.rtt - 40ms) / 5);
  });
}

TEST_F(Modules, GradientFlowsShareEqually) {
  with("gradient", [](Stack& stack, const std::string& plugin) {
    load(stack, plugin);
    make_link(stack, {.rate = 50 * kMbit, .delay = 10ms, .queue = 1000});
    std::vector<std::shared_ptr<Flow>> flows;
    // Each finds the link full of those before it.
    for (int i = 0; i < 4; ++i) {
      flows.push_back(start(stack, "gradient"));
      ASSERT_TRUE(flows.back());
      stack.sleep_for(5s);
    }
    stack.sleep_for(20s);
    double sum = 0, squares = 0;
    for (const Share& share : measure(stack, flows, 60s)) {
      sum += share.rate;
      squares += share.rate * share.rate;
      EXPECT_LT(share.rtt, 20ms + 25ms);
    }
    EXPECT_GT(sum, 0.9 * 50 * kMbit);
    // Jain's index: 1 for equal shares, 1/4 when one has all.
    EXPECT_GT(sum * sum / (4 * squares), 0.9);
    for (const auto& flow : flows) finish(stack, flow);
  });
}

TEST_F(Modules, GradientIsNotStarvedByCubic) {
  with("gradient", [](Stack& stack, const std::string& plugin) {
    load(stack, plugin);
    make_link(stack, {.rate = 20 * kMbit, .delay = 20ms});
    const auto gradient = start(stack, "gradient");
    stack.sleep_for(5s);
    const auto cubic = start(stack, "cubic");
    ASSERT_TRUE(gradient && cubic);
    stack.sleep_for(10s);
    const auto shares = measure(stack, {gradient, cubic}, 60s);
    EXPECT_GT(shares[0].rate, 0.1 * 20 * kMbit);
    EXPECT_GT(shares[1].rate, 0.1 * 20 * kMbit);
    finish(stack, cubic);

    // Alone again, it finds back to a short queue.
    stack.sleep_for(30s);
    const Share alone = measure(stack, {gradient}, 20s)[0];
    EXPECT_GT(alone.rate, 0.9 * 20 * kMbit);
    EXPECT_LT(alone.rtt, 40ms + 15ms);
    finish(stack, gradient);
  });
}

TEST_F(Modules, GradientSurvivesLossAndAShallowBuffer) {
  with("gradient", [](Stack& stack, const std::string& plugin) {
    load(stack, plugin);
    make_link(stack, {.rate = 20 * kMbit, .delay = 20ms, .loss = 0.0005, .queue = 20});
    const Share gradient = run_alone(stack, "gradient", 5s, 60s);
    const Share reno = run_alone(stack, "reno", 5s, 60s);
    EXPECT_GT(gradient.rate, 0.9 * reno.rate);
  });
}

TEST_F(Modules, GradientStartsCarefullyAfterAnIdleTime) {
  with("gradient", [](Stack& stack, const std::string& plugin) {
    load(stack, plugin);
    make_link(stack, {.rate = 50 * kMbit, .delay = 20ms, .queue = 1000});
    const auto flow =
        Flow::start(stack, {.kind = FlowKind::kRequests,
                            .route = {.client = "left", .server = "right", .control = "gradient"},
                            .requests = 6,
                            .request_bytes = 4'000'000,
                            .response_bytes = 1,
                            .interval = 10s});
    ASSERT_TRUE(flow) << flow.error().message();
    while ((*flow)->report().requests < 1) stack.sleep_for(10ms);
    const auto busy = (*flow)->report().tcp;
    stack.sleep_for(9s);
    // Decay is applied when sending begins again, so look shortly after that.
    while ((*flow)->report().bytes_sent < 4'100'000) stack.sleep_for(10ms);
    const auto restarted = (*flow)->report().tcp;
    ASSERT_TRUE(busy && restarted);
    EXPECT_LT(restarted->cwnd, busy->cwnd / 2);
    EXPECT_TRUE((*flow)->wait(stack.now() + 120s));
    const FlowReport report = (*flow)->report();
    EXPECT_EQ(report.state, FlowState::kDone) << report.error;
    // 4 MB at 50 Mbit/s are 0.64 s; slow start adds round trips, not seconds.
    EXPECT_LT(report.gaps.max, 2s);
  });
}

TEST_F(Modules, GradientRefusesBadParameters) {
  with("gradient", [](Stack& stack, const std::string& plugin) {
    for (const char* bad : {"alpha=0", "beta=101", "low_us=0", "high_us=1000001", "low_us=25000",
                            "low_us=30000 high_us=20000"}) {
      const auto module = stack.load(plugin, bad);
      ASSERT_FALSE(module) << bad;
      EXPECT_EQ(module.error().errno_value(), EINVAL) << bad << ": " << module.error().message();
    }
    // Both at once, in either order, though each alone would cross the other's default.
    load(stack, plugin, "low_us=30000 high_us=60000");
    const std::string folder = "/sys/module/gradient/parameters/";
    expect_parameter(stack, folder + "low_us", "60000", EINVAL);
    expect_parameter(stack, folder + "high_us", "30000", EINVAL);
    expect_parameter(stack, folder + "low_us", "59999", 0);
    expect_parameter(stack, folder + "beta", "100", 0);
  });
}

/// Both controls: the sockets of a flow go on with the new code, and with the old one again.
TEST_F(Modules, ControlsAreRenewedUnderAFlow) {
  struct Case {
    std::string name;
    std::vector<Edit> other, larger;
  };
  const Case cases[] = {
      {"aimd",
       {{"aimd.c", "if (!tcp_is_cwnd_limited(sk))\n\t\treturn;",
         "tcp_snd_cwnd_set(tp, 3);\n\treturn;"},
        {"aimd.c", "beta = { .value = 50", "beta = { .value = 40"}},
       {{"aimd.c", "\tunsigned int max;\n", "\tunsigned int max;\n\tunsigned int extra;\n"}}},
      {"gradient",
       {{"gradient.c", "\tgradient_on_ack(sk, rs);\n",
         "\tgradient_on_ack(sk, rs);\n\ttcp_snd_cwnd_set(tcp_sk(sk), 3);\n"},
        {"gradient.c", "beta = { .value = 50", "beta = { .value = 40"}},
       {{"gradient.c", "\tu32 resume_cwnd;", "\tu32 extra, resume_cwnd;"}}}};
  std::vector<std::string> plain, other, larger;
  for (const auto& [name, some, more] : cases) {
    plain.push_back(edited(name, {}));
    other.push_back(edited(name, some));
    larger.push_back(edited(name, more));
  }
  boot([&](Stack& stack) {
    make_link(stack, {.rate = 20 * kMbit, .delay = 20ms});
    for (std::size_t i = 0; i < std::size(cases); ++i) {
      const std::string& name = cases[i].name;
      load(stack, plain[i], "alpha=2");
      const auto flow = start(stack, name);
      ASSERT_TRUE(flow);
      for (int round = 1; round <= 10; ++round) {
        const bool changed = round % 2 != 0;
        stack.sleep_for(2s);
        expect_renewed(stack, changed ? other[i] : plain[i]);
        stack.sleep_for(1s);
        const auto tcp = flow->report().tcp;
        ASSERT_TRUE(tcp);
        EXPECT_EQ(tcp->cwnd == 3, changed) << name << ": " << tcp->cwnd;
        const std::string folder = "/sys/module/" + name + "/parameters/";
        EXPECT_EQ(stack.read_file(folder + "beta").value(), changed ? "40\n" : "50\n");
        EXPECT_EQ(stack.read_file(folder + "alpha").value(), "2\n");
        if (HasFailure()) return;
      }
      // What does not fit is loaded beside it, and the sockets begin anew there.
      const auto moved = stack.swap(larger[i]);
      ASSERT_TRUE(moved) << moved.error().message();
      EXPECT_EQ(moved->method, SwapMethod::kMoved);
      EXPECT_NE(moved->not_in_place.find("'extra' is new"), std::string::npos)
          << moved->not_in_place;
      EXPECT_GE(moved->established, 2u);
      stack.sleep_for(1s);
      finish(stack, flow);
      expect_unloads(stack, name);
    }
  });
}

}  // namespace
}  // namespace lkm
