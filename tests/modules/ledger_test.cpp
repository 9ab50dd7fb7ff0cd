// SPDX-License-Identifier: GPL-2.0
//
// What the modules of modules/ hold when they are loaded. That they leave nothing when they go is checked by every test
// of ModuleTest.
#include <algorithm>

#include "tests/modules/module_test.hpp"

namespace lkm {
namespace {

struct Held {
  std::string module;
  std::vector<std::string> things;  ///< "1 qdisc pi2"
};

void PrintTo(const Held& held, std::ostream* out) { *out << held.module; }

class ALedgerOf : public ModuleTest, public ::testing::WithParamInterface<Held> {};

TEST_P(ALedgerOf, ShowsWhatItsInitHasTaken) {
  const Held& held = GetParam();
  with(held.module, [&](Stack& stack, const std::string& plugin) {
    ASSERT_TRUE(stack.load(plugin));
    const auto ledger = stack.ledger(held.module);
    ASSERT_TRUE(ledger) << ledger.error().message();
    std::vector<std::string> things;
    for (const auto& entry : ledger->entries) {
      things.push_back(fmt::format("{} {}{}{}", entry.count, entry.kind, entry.what.empty() ? "" : " ", entry.what));
      EXPECT_FALSE(entry.place.empty()) << things.back();
      if (entry.place.empty()) continue;
      EXPECT_GT(entry.place.front().line, 0) << things.back();
      EXPECT_EQ(entry.place.front().file.find("/include/"), std::string::npos) << entry.place.front().file;
    }
    for (const auto& thing : held.things) {
      EXPECT_EQ(std::ranges::count(things, thing), 1) << thing << " in:\n" << fmt::format("{}", fmt::join(things, "\n"));
    }
    ASSERT_TRUE(stack.unload(held.module));
  });
}

const Held kModules[] = {
    {"aimd", {"1 congestion control aimd"}},
    {"gradient", {"1 congestion control gradient"}},
    {"sch_pi2", {"1 qdisc pi2"}},
    {"delayline", {"1 link type delayline"}},
    {"xt_flowmeter",
     {"1 set of namespace operations flowmeter_net_init", "1 proc entry flowmeter", "1 match flowmeter"}},
    {"telex",
     {"1 set of namespace operations telex_net_init", "1 proc entry telex", "1 transport protocol TELEX",
      "1 IP protocol handler telex4_rcv", "1 transport protocol TELEXv6"}},
};

INSTANTIATE_TEST_SUITE_P(Modules, ALedgerOf, ::testing::ValuesIn(kModules),
                         [](const auto& held) { return held.param.module; });

}  // namespace
}  // namespace lkm
