// SPDX-License-Identifier: GPL-2.0
//
// Every error path of each module's init: the first allocation fails, then the second, until it makes no more. Each
// time the load must fail cleanly, or go on without what it did not get; nothing may stay.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/modules/module_test.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

class EachAllocation : public ModuleTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(EachAllocation, OfAnInitMayFail) {
  const std::string name = GetParam();
  with(name, [&](Stack& stack, const std::string& plugin) {
    FailingAllocation failing{.number = 1};
    unsigned refused = 0;
    for (;; ++failing.number) {
      ASSERT_LT(failing.number, 500u);
      const auto loaded = stack.load(plugin, LoadOptions{.parameters = "", .guard = {}, .failing = &failing});
      std::printf("%3u %s: %s\n", failing.number, failing.place.empty() ? "-" : failing.place.c_str(),
                  loaded ? "loaded" : std::strerror(loaded.error().errno_value()));
      if (!failing.reached) {
        ASSERT_TRUE(loaded) << loaded.error().message();
        break;
      }
      if (loaded) {
        // Also of one of which the kernel tells nothing, since who asked for it can do without (__GFP_NOWARN).
        ASSERT_TRUE(stack.unload(name));
      } else {
        EXPECT_NE(failing.place.find(".c:"), std::string::npos) << failing.place;
        // What the kernel's functions make of it: sockets of the kernel, socket buffers.
        const int code = loaded.error().errno_value();
        EXPECT_TRUE(code == ENOMEM || code == ENFILE || code == ENOBUFS) << loaded.error().message();
        ++refused;
      }
      const auto modules = stack.modules();
      ASSERT_TRUE(modules);
      for (const auto& module : *modules) EXPECT_NE(module.name.substr(0, name.size()), name) << module.state;
    }
    RecordProperty("refused", int(refused));
    // The stack serves, and so does the module.
    auto flow = Flow::start(stack, FlowSpec{.bytes = 100'000});
    ASSERT_TRUE(flow) << flow.error().message();
    ASSERT_TRUE((*flow)->wait(stack.now() + 20s));
    EXPECT_EQ((*flow)->report().state, FlowState::kDone);
    expect_unloads(stack, name);
  });
}

INSTANTIATE_TEST_SUITE_P(Modules, EachAllocation,
                         ::testing::Values("aimd", "gradient", "telex", "xt_flowmeter", "delayline", "sch_pi2"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace lkm
