// SPDX-License-Identifier: GPL-2.0
//
// What a module holds, who in it asked for that, and what becomes of it when the module goes. The module leaky takes
// one thing of each kind and gives nothing back.
#include <algorithm>
#include <regex>
#include <sstream>

#include "tests/host/host_test.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

const LedgerEntry* find(const Ledger& ledger, const std::string& kind) {
  const auto found = std::ranges::find(ledger.entries, kind, &LedgerEntry::kind);
  return found == ledger.entries.end() ? nullptr : &*found;
}

std::string text(const Ledger& ledger) {
  std::string lines;
  for (const auto& entry : ledger.entries) {
    lines += fmt::format("{} {} ({}), {} by {} at {}\n", entry.count, entry.kind, entry.what, entry.verb,
                         entry.function, entry.place.empty() ? "?" : entry.place.front().place());
  }
  return lines;
}

/// Lines of the kernel's log about the module, without their time.
std::string said(const std::string& log, const std::string& module) {
  std::string lines;
  std::istringstream from(log);
  for (std::string line; std::getline(from, line);) {
    const auto at = line.find(module + ": ");
    if (at != std::string::npos && line.find("taint") == std::string::npos) lines += line.substr(at) + "\n";
  }
  return lines;
}

struct Leak {
  std::string name;   ///< value of the parameter `leak`
  std::string kind;   ///< in the ledger; empty: it is taken in the exit
  std::string what;
  std::string audit;  ///< a regular expression
};

void PrintTo(const Leak& leak, std::ostream* out) { *out << leak.name; }

class ALeak : public HostTest, public ::testing::WithParamInterface<Leak> {};

/// Comes by every place where a module that is gone could still be called, and runs its timers' periods.
void touch_everything(Stack& stack) {
  for (const char* path : {"/proc/leaky", "/proc/net/leaky", "/sys/kernel/leaky", "/sys/kernel/leaky_group/leaky",
                           "/sys/kernel/debug/leaky", "/proc/sys/net/leaky/leaky"}) {
    EXPECT_FALSE(stack.read_file(path)) << path;
  }
  expect_serves(stack);
  EXPECT_TRUE(stack.netns_add("touched"));
  EXPECT_TRUE(stack.netns_del("touched"));
  stack.sleep_for(60ms);
  EXPECT_NE(stack.sysctl("net.ipv4.tcp_available_congestion_control").value().find("cubic"), std::string::npos);
  for (const char* file : {"/proc/net/protocols", "/proc/net/ptype", "/proc/modules", "/proc/slabinfo"}) {
    (void)stack.read_file(file);
  }
}

TEST_P(ALeak, IsShownWithItsPlaceAndTakenBackWhenTheModuleGoes) {
  const Leak& leak = GetParam();
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    const auto loaded = stack.load(leaky, "leak=" + leak.name);
    ASSERT_TRUE(loaded) << loaded.error().message();
    const auto ledger = stack.ledger("leaky");
    ASSERT_TRUE(ledger) << ledger.error().message();
    EXPECT_TRUE(ledger->complete);
    if (leak.kind.empty()) {
      EXPECT_TRUE(ledger->entries.empty()) << text(*ledger);
    } else {
      const auto* entry = find(*ledger, leak.kind);
      ASSERT_NE(entry, nullptr) << text(*ledger);
      EXPECT_GE(entry->count, 1u);
      EXPECT_EQ(entry->what, leak.what);
      ASSERT_FALSE(entry->place.empty());
      EXPECT_TRUE(entry->place.back().function.starts_with("take_") || leak.name == "timer") << text(*ledger);
      EXPECT_TRUE(entry->place.front().file.ends_with("leaky.c")) << entry->place.front().file;
      EXPECT_GT(entry->place.front().line, 0);
    }

    log_.clear();
    const auto unloaded = stack.unload("leaky");
    ASSERT_TRUE(unloaded) << unloaded.error().message();
    EXPECT_TRUE(std::regex_search(said(log_, "leaky"), std::regex(leak.audit))) << said(log_, "leaky");
    EXPECT_TRUE(stack.modules().value().empty());
    expect_refused(stack.ledger("leaky"), ENOENT, {"leaky", "lkm-run ls"});

    touch_everything(stack);
    ASSERT_TRUE(stack.load(leaky, "leak=none"));
    const auto none = stack.ledger("leaky");
    ASSERT_TRUE(none);
    EXPECT_TRUE(none->entries.empty()) << text(*none);
    log_.clear();
    ASSERT_TRUE(stack.unload("leaky"));
    EXPECT_EQ(said(log_, "leaky"), "") << "nothing leaked";
  });
  for (const char* word : {"BUG", "WARNING", "Oops"}) EXPECT_EQ(log_.find(word), std::string::npos) << log_;
}

/// "1 timer pending (tick), armed at take_timer+0x12/0x34 (leaky.c:56): cancelled"
std::string line(const std::string& what, const std::string& where, const std::string& outcome) {
  return "leaky: " + what + " at " + where + "\\+0x[0-9a-f]+/0x[0-9a-f]+ \\(leaky.c:[0-9]+\\): " + outcome;
}

/// A freed neighbour in the slab, or a recycled packet head's slot, can hold a stale word that points to the object. Whole
/// pages have no such neighbours.
const char* const kFreed = "(freed|([0-9]+ freed, [0-9]+ )?left, something points to it)";

const Leak kLeaks[] = {
    {"block", "block", "", line("184 bytes in 1 block, allocated", "take_block", kFreed)},
    {"chain", "blocks", "", line("552 bytes in 3 blocks, allocated", "take_chain", kFreed)},
    {"handed", "block", "", line("184 bytes in 1 block, allocated", "take_handed", "left, something points to it")},
    {"string", "block", "", line("[0-9]+ bytes in 1 block, allocated", "take_string", kFreed)},
    {"pages", "block", "", line("100000 bytes in 1 block, allocated", "take_pages", "freed")},
    {"percpu", "per-CPU block", "", line("184 bytes in 1 per-CPU block, allocated", "take_percpu", kFreed)},
    {"skb", "packet buffer", "", line("1 packet buffer, allocated", "take_skb", kFreed)},
    {"cache", "slab cache", "leaky_things", line("1 slab cache \\(leaky_things\\), created", "take_cache", "destroyed")},
    {"object", "object", "", line("184 bytes in 1 object, allocated", "take_object", kFreed)},
    {"timer", "timer pending", "tick", line("1 timer pending \\(tick\\), armed", "t[a-z_]*", "cancelled")},
    {"hrtimer", "hrtimer pending", "hrtick", line("1 hrtimer pending \\(hrtick\\), armed", "take_hrtimer", "cancelled")},
    {"work", "", "", line("1 work item pending \\(do_work\\), queued", "take_work", "cancelled")},
    {"delayed_work", "", "",
     line("1 delayed work item pending \\(do_work\\), queued", "take_delayed_work", "cancelled")},
    {"tasklet", "", "", line("1 tasklet pending \\(do_tasklet\\), scheduled", "take_tasklet", "killed")},
    {"rcu", "", "", line("1 RCU callback pending \\(free_thing\\), asked for", "take_rcu", "waited for")},
    {"thread", "kernel thread", "leaky", line("1 kernel thread \\(leaky\\), started", "take_thread", "stopped")},
    {"workqueue", "workqueue", "", line("1 workqueue, created", "take_workqueue", "destroyed")},
    {"proc", "proc entry", "leaky", line("1 proc entry \\(leaky\\), created", "take_proc", "removed")},
    {"proc_net", "proc entry", "leaky", line("1 proc entry \\(leaky\\), created", "take_proc_net", "removed")},
    {"debugfs", "debugfs entry", "leaky", line("1 debugfs entry \\(leaky\\), created", "take_debugfs", "removed")},
    {"sysfs", "sysfs file", "leaky", line("1 sysfs file \\(leaky\\), created", "take_sysfs", "removed")},
    {"sysfs_group", "sysfs group", "leaky_group",
     line("1 sysfs group \\(leaky_group\\), created", "take_sysfs_group", "removed")},
    {"sysctl", "sysctl table", "", line("1 sysctl table, registered", "take_sysctl", "unregistered")},
    {"chrdev", "range of device numbers", "", line("1 range of device numbers, taken", "take_chrdev", "given back")},
    {"genl", "generic netlink family", "leaky",
     line("1 generic netlink family \\(leaky\\), registered", "take_genl", "unregistered")},
    {"nf_hook", "netfilter hook", "hook",
     line("1 netfilter hook \\(hook\\), registered", "take_nf_hook", "unregistered")},
    {"nf_hooks", "netfilter hook", "hook",
     line("1 netfilter hook \\(hook\\), registered", "take_nf_hooks", "unregistered")},
    {"notifier", "notifier", "notified", line("1 notifier \\(notified\\), registered", "take_notifier", "unregistered")},
    {"pernet", "set of namespace operations", "enter_net",
     line("1 set of namespace operations \\(enter_net\\), registered", "take_pernet", "unregistered")},
    {"device", "network device", "leaky0",
     line("1 network device \\(leaky0\\), registered", "take_device", "unregistered")},
    {"device_memory", "network device", "leaky%d",
     line("1 network device \\(leaky%d\\), allocated", "take_device_memory", "freed")},
    {"link_type", "link type", "leaky", line("1 link type \\(leaky\\), registered", "take_link_type", "unregistered")},
    {"packet_type", "packet handler", "receive",
     line("1 packet handler \\(receive\\), registered", "take_packet_type", "unregistered")},
    {"proto", "transport protocol", "LEAKY",
     line("1 transport protocol \\(LEAKY\\), registered", "take_proto", "unregistered")},
    {"family", "address family", "", line("1 address family, registered", "take_family", "unregistered")},
    {"ip_protocol", "IP protocol handler", "handle",
     line("1 IP protocol handler \\(handle\\), registered", "take_ip_protocol", "unregistered")},
    {"qdisc", "qdisc", "leaky", line("1 qdisc \\(leaky\\), registered", "take_qdisc", "unregistered")},
    {"cc", "congestion control", "leaky",
     line("1 congestion control \\(leaky\\), registered", "take_cc", "unregistered")},
    {"ulp", "upper layer protocol", "leaky",
     line("1 upper layer protocol \\(leaky\\), registered", "take_ulp", "unregistered")},
    {"socket", "kernel socket", "", line("1 kernel socket, created", "take_socket", "released")},
};

INSTANTIATE_TEST_SUITE_P(OfAKind, ALeak, ::testing::ValuesIn(kLeaks),
                         [](const auto& leak) { return leak.param.name; });

class ALedger : public HostTest {};

/// References by inline functions, which no import shows.
struct Reference {
  std::string name;  ///< value of the parameter `leak`
  std::string what;
  bool tracked;      ///< the debug image's kernel knows whose it is
  unsigned count = 1;
};

void PrintTo(const Reference& reference, std::ostream* out) { *out << reference.name; }

class AReference : public HostTest, public ::testing::WithParamInterface<Reference> {
 protected:
  /// In the debug image the kernel counts those to devices and namespaces itself.
  static bool has_trackers(Stack& stack) {
    return stack.read_file("/proc/kallsyms").value_or("").find(" ref_tracker_alloc\n") != std::string::npos;
  }

  static std::string audit(const Reference& reference, bool given_back) {
    const bool one = reference.count == 1;
    return line(fmt::format("{} reference{} \\({}\\), taken", reference.count, one ? "" : "s", reference.what),
                "take_" + reference.name,
                given_back ? "given back" : "left, nothing tells whether it was handed over");
  }
};

TEST_P(AReference, IsToldWithItsPlace) {
  const Reference& reference = GetParam();
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=" + reference.name));
    const auto ledger = stack.ledger("leaky");
    ASSERT_TRUE(ledger);
    const auto* entry = find(*ledger, reference.count == 1 ? "reference" : "references");
    ASSERT_NE(entry, nullptr) << text(*ledger);
    EXPECT_EQ(ledger->entries.size(), 1u) << text(*ledger);
    EXPECT_EQ(entry->count, reference.count);
    EXPECT_EQ(entry->what, reference.what);
    ASSERT_FALSE(entry->place.empty());
    EXPECT_EQ(entry->place.back().function, "take_" + reference.name);
    EXPECT_TRUE(entry->place.back().file.ends_with("leaky.c")) << entry->place.back().file;
    log_.clear();
    ASSERT_TRUE(stack.unload("leaky"));
    const auto expected = audit(reference, reference.tracked && has_trackers(stack));
    EXPECT_TRUE(std::regex_search(said(log_, "leaky"), std::regex(expected))) << log_ << "\nnot " << expected;
    EXPECT_TRUE(stack.modules().value().empty()) << "nothing of it leads into the module";
    touch_everything(stack);
  });
  for (const char* word : {"BUG", "WARNING", "Oops"}) EXPECT_EQ(log_.find(word), std::string::npos) << log_;
}

const Reference kReferences[] = {
    {"dev_hold", "lo", false, 3},
    {"dev_by_name", "lo", false},
    {"dev_by_address", "lo", false},
    {"netdev_hold", "lo", true},
    {"netdev_by_name", "lo", true},
    {"get_net", "network namespace", false},
    {"maybe_get_net", "network namespace", false},
    {"get_net_track", "network namespace", true},
    {"sock_hold", "NETLINK socket", false},
};

INSTANTIATE_TEST_SUITE_P(OfAKind, AReference, ::testing::ValuesIn(kReferences),
                         [](const auto& reference) { return reference.param.name; });

TEST_F(ALedger, KnowsADeviceThatIsGivenBackByItsNumber) {
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=device_given_by_number"));
    EXPECT_NE(find(*stack.ledger("leaky"), "device"), nullptr) << text(*stack.ledger("leaky"));
    log_.clear();
    const auto unloaded = stack.unload("leaky");
    ASSERT_TRUE(unloaded) << unloaded.error().message();
    EXPECT_EQ(said(log_, "leaky"), "");
  });
}

class References : public HostTest {};

TEST_F(References, ThatAreGivenBackAreNotTold) {
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    for (const char* leak : {"given_references", "references_given_at_exit"}) {
      const auto loaded = stack.load(leaky, std::string("leak=") + leak);
      ASSERT_TRUE(loaded) << loaded.error().message();
      const auto ledger = stack.ledger("leaky");
      ASSERT_TRUE(ledger);
      EXPECT_EQ(ledger->entries.empty(), leak == std::string("given_references")) << text(*ledger);
      log_.clear();
      ASSERT_TRUE(stack.unload("leaky"));
      EXPECT_EQ(said(log_, "leaky"), "") << leak;
    }
  });
  for (const char* word : {"BUG", "WARNING", "Oops"}) EXPECT_EQ(log_.find(word), std::string::npos) << log_;
}

TEST_F(References, ToASocketEndWithItWhoeverGaveThemBack) {
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=handed_socket"));
    const auto ledger = stack.ledger("leaky");
    ASSERT_TRUE(ledger);
    const auto* entry = find(*ledger, "reference");
    ASSERT_NE(entry, nullptr) << text(*ledger);
    EXPECT_EQ(entry->what, "UDP socket");
    log_.clear();
    ASSERT_TRUE(stack.unload("leaky"));
    EXPECT_EQ(said(log_, "leaky"), "");
  });
}

TEST_F(References, AreGivenBackByAnotherModuleThatTheyWereHandedTo) {
  const auto leaky = plugin("leaky");
  const auto giver = plugin("giver");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=dev_hold"));
    ASSERT_EQ(stack.ledger("leaky")->entries.size(), 1u) << text(*stack.ledger("leaky"));
    ASSERT_TRUE(stack.load(giver));
    EXPECT_TRUE(stack.ledger("leaky")->entries.empty()) << text(*stack.ledger("leaky"));
    log_.clear();
    ASSERT_TRUE(stack.unload("leaky"));
    ASSERT_TRUE(stack.unload("giver"));
    EXPECT_EQ(said(log_, "leaky") + said(log_, "giver"), "");
  });
}

TEST_F(References, StayWithAModuleThatIsRenewed) {
  const auto leaky = plugin("leaky");
  const auto next = plugin("leaky", 2);
  run([&](Stack& stack) {
    for (const std::string leak : {"dev_hold", "references_given_at_exit"}) {
      ASSERT_TRUE(stack.load(leaky, "leak=" + leak));
      const auto before = stack.ledger("leaky");
      ASSERT_TRUE(before);
      const auto report = stack.swap(next);
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
      const auto after = stack.ledger("leaky");
      ASSERT_TRUE(after);
      ASSERT_EQ(after->entries.size(), 1u) << text(*after);
      EXPECT_EQ(after->entries[0].count, 3u);
      EXPECT_EQ(after->entries[0].what, "lo");
      EXPECT_EQ(text(*after), text(*before));
      log_.clear();
      ASSERT_TRUE(stack.unload("leaky"));
      if (leak == "dev_hold") {
        EXPECT_NE(said(log_, "leaky").find("3 references (lo), taken at "), std::string::npos) << log_;
        EXPECT_NE(said(log_, "leaky").find("left, nothing tells"), std::string::npos) << log_;
      } else {
        EXPECT_EQ(said(log_, "leaky"), "");
      }
    }
  });
}

TEST_F(ALedger, TakesBackInAnOrderInWhichNothingRunsIntoWhatIsGone) {
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=many"));
    EXPECT_EQ(stack.ledger("leaky")->entries.size(), 5u) << text(*stack.ledger("leaky"));
    log_.clear();
    ASSERT_TRUE(stack.unload("leaky"));
    const auto lines = said(log_, "leaky");
    EXPECT_EQ(std::ranges::count(lines, '\n'), 5) << lines;
    touch_everything(stack);
  });
}

TEST_F(ALedger, CleansUpBehindAnInitThatFails) {
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    log_.clear();
    expect_refused(stack.load(leaky, "leak=failing"), ENODEV, {"leaky"});
    EXPECT_NE(said(log_, "leaky").find("1 proc entry (leaky), created at take_"), std::string::npos) << log_;
    EXPECT_TRUE(stack.modules().value().empty());
    touch_everything(stack);
    ASSERT_TRUE(stack.load(leaky, "leak=none"));
  });
}

TEST_F(ALedger, KeepsTheCodeThatAThreadWillNotLeaveAsAZombie) {
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=stubborn"));
    // One that has not begun yet would end at once.
    const auto calls = [&] { return stack.read_file("/sys/module/leaky/parameters/calls").value_or("0"); };
    for (int i = 0; i < 1000 && calls() == "0\n"; ++i) stack.sleep_for(10ms);
    log_.clear();
    ASSERT_TRUE(stack.unload("leaky"));
    EXPECT_TRUE(std::regex_search(
        said(log_, "leaky"),
        std::regex(line("1 kernel thread \\(stubborn\\), started", "take_stubborn", "left, it does not end"))))
        << log_;
    const auto modules = stack.modules().value();
    ASSERT_EQ(modules.size(), 1u);
    EXPECT_EQ(modules[0].name, "leaky@1");
    EXPECT_EQ(modules[0].state, "zombie");
    EXPECT_NE(modules[0].why.find("kernel thread (stubborn), started at take_stubborn"), std::string::npos)
        << modules[0].why;
    const auto ledger = stack.ledger("leaky@1");
    ASSERT_TRUE(ledger) << ledger.error().message();
    EXPECT_NE(find(*ledger, "kernel thread"), nullptr) << text(*ledger);

    stack.sleep_for(100ms);  // the thread has been in its code several times
    expect_refused(stack.unload("leaky@1"), EBUSY, {"leaky@1"});
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(stack.load(leaky, "leak=none"));
      EXPECT_EQ(stack.modules().value().size(), 2u);
      ASSERT_TRUE(stack.unload("leaky"));
    }
    touch_everything(stack);

    // Each has a name of its own.
    ASSERT_TRUE(stack.load(leaky, "leak=stubborn"));
    for (int i = 0; i < 1000 && calls() == "0\n"; ++i) stack.sleep_for(10ms);
    ASSERT_TRUE(stack.unload("leaky"));
    ASSERT_EQ(stack.modules().value().size(), 2u);
    EXPECT_TRUE(stack.ledger("leaky@5")) << "the fifth load";
  });
}

TEST_F(ALedger, KeepsACacheOfWhichObjectsAreInUse) {
  const auto leaky = plugin("leaky");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=handed_object"));
    log_.clear();
    ASSERT_TRUE(stack.unload("leaky"));
    const auto lines = said(log_, "leaky");
    EXPECT_NE(lines.find("left, something points to it"), std::string::npos) << lines;
    EXPECT_NE(lines.find("left, objects of it are left"), std::string::npos) << lines;
    EXPECT_EQ(stack.modules().value().at(0).name, "leaky@1") << "a cache can have a constructor";
    touch_everything(stack);
  });
  EXPECT_EQ(log_.find("BUG"), std::string::npos) << log_;
}

TEST_F(ALedger, IsAuditedWhenTheModuleIsReloaded) {
  const auto leaky = plugin("leaky");
  const auto next = plugin("leaky", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(leaky, "leak=timer"));
    log_.clear();
    const auto report = stack.swap(next, {.state = StatePolicy::kReinit, .parameters = "leak=none"});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kReloaded);
    EXPECT_TRUE(std::regex_search(said(log_, "leaky"),
                                  std::regex(line("1 timer pending \\(tick\\), armed", "t[a-z_]*", "cancelled"))))
        << log_;
    EXPECT_TRUE(stack.ledger("leaky")->entries.empty());
    touch_everything(stack);
  });
}

TEST_F(ALedger, OfAControlWhoseSocketsMoveIsTheNewBuilds) {
  const std::string builds[] = {plugin("swapcc", 1), plugin("swapcc", 2)};
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(builds[0]));
    const auto flow = start_flow(stack, "swapcc");
    ASSERT_TRUE(flow);
    log_.clear();
    for (int i = 1; i <= 4; ++i) {
      const auto report = stack.swap(builds[i % 2], {.state = StatePolicy::kReinit});
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kMoved);
      const auto ledger = stack.ledger("swapcc").value();
      ASSERT_EQ(ledger.entries.size(), 1u) << text(ledger);
      EXPECT_EQ(ledger.entries[0].kind, "congestion control");
    }
    EXPECT_EQ(said(log_, "swapcc").find(" at "), std::string::npos) << log_;
    expect_intact(stack, *flow, "swapcc");
  });
}

TEST_F(ALedger, StaysWithAModuleThatIsRenewed) {
  const std::string builds[] = {plugin("ticker", 1), plugin("ticker", 2)};
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(builds[0]));
    const auto before = stack.ledger("ticker").value();
    ASSERT_NE(find(before, "proc entry"), nullptr) << text(before);
    ASSERT_NE(find(before, "timer pending"), nullptr) << text(before);
    ASSERT_NE(find(before, "block"), nullptr) << text(before);
    for (int i = 1; i <= 20; ++i) {
      const auto report = stack.swap(builds[i % 2]);
      ASSERT_TRUE(report) << report.error().message();
      ASSERT_EQ(report->method, SwapMethod::kRenewed) << report->not_in_place;
      ASSERT_TRUE(stack.write_file("/proc/ticker", "add 5"));
      stack.sleep_for(3ms);
    }
    const auto after = stack.ledger("ticker").value();
    const auto* entry = find(after, "proc entry");
    ASSERT_NE(entry, nullptr) << text(after);
    ASSERT_FALSE(entry->place.empty()) << "the build that it was asked for by is unmapped";
    EXPECT_EQ(entry->place.front().line, find(before, "proc entry")->place.front().line);
    std::uint64_t blocks = 0;
    for (const auto& held : after.entries) {
      EXPECT_FALSE(held.place.empty()) << text(after);
      if (held.kind.starts_with("block")) blocks += held.count;
    }
    EXPECT_EQ(blocks, 21u) << text(after);
    EXPECT_NE(find(after, "timer pending"), nullptr) << text(after);
    log_.clear();
    ASSERT_TRUE(stack.unload("ticker"));
    EXPECT_EQ(said(log_, "ticker"), "ticker: variant 1 ends\n");
  });
}

}  // namespace
}  // namespace lkm
