// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <set>
#include <string>

#include "tests/host/host_test.hpp"
#include "toolkit/base/file.hpp"
#include "toolkit/flow/flow.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string parameter(Stack& stack, const std::string& name) {
  return stack.sysctl("/../../sys/module/swapcc/parameters/" + name).value_or("none");
}

/// The sockets are moved, whether or not the module could go on in place.
const SwapOptions kMove{.state = StatePolicy::kReinit};

class ASwap : public HostTest {};

TEST_F(ASwap, MovesSocketsOfEveryStateAndNamespace) {
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    ASSERT_TRUE(stack.netns_add("blue"));
    ASSERT_TRUE(stack.sysctl("net.ipv4.tcp_congestion_control", "swapcc"));
    const auto here = start_flow(stack, "swapcc");
    const auto there = start_flow(stack, "swapcc", "blue");
    ASSERT_TRUE(here && there);
    const StackFd idle(stack, int(stack.syscall(SYS_socket, AF_INET, SOCK_STREAM, 0)));
    ASSERT_EQ(idle.call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, "swapcc", 6), 0);
    const StackFd listening(stack, int(stack.syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0)));
    ASSERT_EQ(listening.call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, "swapcc", 6), 0);
    ASSERT_EQ(listening.call(SYS_listen, 1), 0);
    stack.sleep_for(20ms);

    const auto before = tcp_state(StackFd(stack, int(stack.syscall(SYS_dup, idle.get()))));
    const auto report = stack.swap(second, kMove);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->module, "swapcc");
    EXPECT_EQ(report->from_generation, 1u);
    EXPECT_EQ(report->to_generation, 2u);
    EXPECT_GE(report->sockets, 6u);  // two ends of two flows, and two sockets
    EXPECT_GE(report->established, 4u);
    EXPECT_EQ(report->netns_defaults, 1u);
    EXPECT_FALSE(report->zombie);
    EXPECT_GT(report->blackout, 0ns);
    EXPECT_EQ(tcp_control(idle), "swapcc");
    EXPECT_EQ(tcp_control(listening), "swapcc");
    EXPECT_EQ(tcp_state(idle)->cwnd, before->cwnd);
    EXPECT_EQ(stack.sysctl("net.ipv4.tcp_congestion_control").value(), "swapcc");
    stack.sleep_for(20ms);
    expect_intact(stack, *here, "swapcc");
    expect_intact(stack, *there, "swapcc");

    const auto modules = stack.modules().value();
    ASSERT_EQ(modules.size(), 1u);
    EXPECT_EQ(modules[0].generation, 2u);
    EXPECT_EQ(modules[0].path, second);
  });
}

TEST_F(ASwap, IsWatchedBeforeAnybodyCanRunTheNewCode) {
  options_.clock = Clock::kVirtual;  // no tick lets the observer in while the old code still serves
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    bool over = false;
    std::set<std::string> settings;  // seen while the old code goes, and the new one serves
    auto observer = stack.spawn("observer", [&] {
      for (; !over; stack.yield()) {
        if (!stack.read_file("/sys/module/swapcc@1/refcnt")) continue;
        settings.insert(stack.sysctl("kernel.panic_on_oops").value_or("unknown"));
      }
    });
    ASSERT_TRUE(observer);
    const auto report = stack.swap(second, {.state = StatePolicy::kReinit, .watch = true});
    over = true;
    observer->join();
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(settings, std::set<std::string>{"1"});
  });
}

TEST_F(ASwap, DrainsTheOldGenerationOfItsConnections) {
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    const auto old_flow = start_flow(stack, "swapcc");
    ASSERT_TRUE(old_flow);
    const StackFd listening(stack, int(stack.syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0)));
    ASSERT_EQ(listening.call(SYS_setsockopt, IPPROTO_TCP, TCP_CONGESTION, "swapcc", 6), 0);
    ASSERT_EQ(listening.call(SYS_listen, 1), 0);
    stack.sleep_for(20ms);

    const auto report = stack.swap(second, {.state = StatePolicy::kDrain});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kMoved);
    EXPECT_GE(report->sockets, 1u);  // the listener
    EXPECT_EQ(report->established, 0u);
    EXPECT_TRUE(report->zombie);
    const auto modules = stack.modules().value();
    ASSERT_EQ(modules.size(), 2u);
    const auto drained = std::ranges::find(modules, "swapcc@1", &ModuleInfo::name);
    ASSERT_NE(drained, modules.end());
    EXPECT_EQ(drained->refcount, 2);  // the ends of the flow

    const auto new_flow = start_flow(stack, "swapcc");
    ASSERT_TRUE(new_flow);
    stack.sleep_for(20ms);
    expect_intact(stack, *old_flow, "swapcc");
    // Its last connection is gone when TIME-WAIT has no need of the control, which is at once.
    for (const auto deadline = stack.now() + 10s; stack.modules()->size() != 1; stack.sleep_for(10ms)) {
      ASSERT_LT(stack.now(), deadline) << "swapcc@1 stays";
    }
    EXPECT_EQ(stack.modules()->front().generation, 2u);
    expect_intact(stack, *new_flow, "swapcc");
  });
}

TEST_F(ASwap, KeepsTheWindowOfALiveConnection) {
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    auto pair = connect_route(stack, {.control = "swapcc"});
    ASSERT_TRUE(pair) << pair.error().message();
    auto reader = stack.spawn("reader", [&] {
      std::vector<char> buffer(std::size_t{1} << 20);
      while (pair->server.call(SYS_read, buffer.data(), buffer.size()) > 0) {
      }
    });
    ASSERT_TRUE(reader);
    const std::vector<char> block(std::size_t{8} << 20);
    for (int i = 0; i < 20; ++i) {
      ASSERT_EQ(pair->client.call(SYS_write, block.data(), block.size()), long(block.size()));
    }
    stack.sleep_for(10ms);
    const auto before = tcp_state(pair->client).value();
    EXPECT_GT(before.cwnd, 10u);
    const auto report = stack.swap(second, kMove);
    ASSERT_TRUE(report) << report.error().message();
    const auto after = tcp_state(pair->client).value();
    EXPECT_EQ(after.cwnd, before.cwnd);
    EXPECT_EQ(after.ssthresh, before.ssthresh);
    EXPECT_EQ(after.pacing_rate, before.pacing_rate);
    pair->client.call(SYS_shutdown, SHUT_WR);
    reader->join();
  });
}

/// As statecc shows it by TCP_CC_INFO.
struct ControlInfo {
  std::uint32_t fresh = 0, count = 0;
  std::int32_t negative = 0;
  std::uint32_t packed = 0;
};

ControlInfo control_info(const StackFd& socket) {
  ControlInfo info;
  socklen_t size = sizeof(info);
  EXPECT_EQ(socket.call(SYS_getsockopt, IPPROTO_TCP, TCP_CC_INFO, &info, &size), 0);
  return info;
}

TEST_F(ASwap, KeepsPrivateStateMemberByMember) {
  const auto first = plugin("statecc", 1);
  const auto second = plugin("statecc", 2);
  const auto releasing = plugin("statecc", 3);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    auto pair = connect_route(stack, {.control = "statecc"});
    ASSERT_TRUE(pair) << pair.error().message();
    for (int i = 0; i < 40; ++i) {
      char byte = 0;
      ASSERT_EQ(pair->client.call(SYS_write, &byte, 1), 1);
      ASSERT_EQ(pair->server.call(SYS_read, &byte, 1), 1);
      stack.sleep_for(100us);
    }
    const auto before = control_info(pair->client);
    EXPECT_GT(before.count, 1u);
    EXPECT_EQ(before.negative, -5);
    EXPECT_EQ(before.packed, 12112u);

    const auto report = stack.swap(second);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kMoved);
    EXPECT_EQ(report->states_kept, 2u);
    std::string remarks;
    for (const auto& remark : report->state_remarks) remarks += remark + "\n";
    for (const char* part : {"'fresh' is new", "'gone' is gone", "'count'", "'negative'"}) {
      EXPECT_NE(remarks.find(part), std::string::npos) << part << " in: " << remarks;
    }
    const auto after = control_info(pair->client);
    EXPECT_EQ(after.count, before.count);
    EXPECT_EQ(after.negative, -5) << "with its sign in the wider member";
    EXPECT_EQ(after.packed, before.packed) << "bit fields and arrays";
    EXPECT_EQ(after.fresh, 77u) << "what is new is as init() makes it";

    // Memory that a control allocated is freed by release(): nothing of such state can be carried over.
    const auto released = stack.swap(releasing, {.state = StatePolicy::kKeep});
    ASSERT_TRUE(released) << released.error().message();
    EXPECT_EQ(control_info(pair->client).fresh, 77u);
    const auto anew = stack.swap(first);
    ASSERT_TRUE(anew) << anew.error().message();
    EXPECT_EQ(anew->states_kept, 0u);
    ASSERT_EQ(anew->state_remarks.size(), 1u);
    EXPECT_NE(anew->state_remarks[0].find("release()"), std::string::npos);
    EXPECT_EQ(control_info(pair->client).count, 1u);
  });
}

TEST_F(ASwap, LetsTheMigrateHookTakeOverTheState) {
  const auto first = plugin("migratecc", 1);
  const auto second = plugin("migratecc", 2);
  const auto refusing = plugin("migratecc", 3);
  const auto same = plugin("migratecc", 4);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    auto pair = connect_route(stack, {.control = "migratecc"});
    ASSERT_TRUE(pair) << pair.error().message();
    EXPECT_EQ(control_info(pair->client).count, 7u);

    const auto said = log_.size();
    // The structures are equal: only the version tells that they do not mean the same.
    const auto report = stack.swap(second);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->method, SwapMethod::kMoved);
    EXPECT_NE(report->not_in_place.find("version 2, and had 0"), std::string::npos) << report->not_in_place;
    EXPECT_EQ(report->states_kept, 2u);
    ASSERT_EQ(report->state_remarks.size(), 1u);
    EXPECT_NE(report->state_remarks[0].find("2 of 2 sockets"), std::string::npos) << report->state_remarks[0];
    EXPECT_EQ(control_info(pair->client).count, 71u);
    EXPECT_EQ(control_info(pair->client).negative, 0) << "the version that it came from";
    EXPECT_EQ(log_.find("migratecc: released", said), std::string::npos) << "what the state owns has another owner";

    const auto renewed = stack.swap(same);
    ASSERT_TRUE(renewed) << renewed.error().message();
    EXPECT_EQ(renewed->method, SwapMethod::kRenewed) << renewed->not_in_place;
    EXPECT_EQ(control_info(pair->client).count, 71u);

    const auto refused = stack.swap(refusing);
    ASSERT_TRUE(refused) << refused.error().message();
    EXPECT_EQ(refused->states_kept, 0u);
    ASSERT_EQ(refused->state_remarks.size(), 1u);
    EXPECT_NE(refused->state_remarks[0].find("0 of 2 sockets"), std::string::npos);
    EXPECT_NE(refused->state_remarks[0].find(std::strerror(EOVERFLOW)), std::string::npos);
    EXPECT_EQ(control_info(pair->client).count, 300u) << "as init() makes it";
    EXPECT_NE(log_.find("migratecc: released 71"), std::string::npos) << "by the code that it belonged to";

    // With another policy nobody asks the hook.
    const auto anew = stack.swap(second, {.state = StatePolicy::kReinit});
    ASSERT_TRUE(anew) << anew.error().message();
    EXPECT_EQ(control_info(pair->client).count, 1u);
  });
}

TEST_F(ASwap, WithAFailingInitKeepsTheOldGeneration) {
  const auto first = plugin("swapcc", 1);
  const auto failing = plugin("swapcc", 3);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    const auto flow = start_flow(stack, "swapcc");
    ASSERT_TRUE(flow);
    const auto line = module_line(stack, "swapcc");
    for (int i = 0; i < 3; ++i) {
      expect_refused(stack.swap(failing), EINVAL, {"swapcc", "generation 1 serves on"});
      EXPECT_EQ(module_line(stack, "swapcc"), line);
    }
    EXPECT_EQ(stack.modules()->size(), 1u);
    EXPECT_EQ(stack.modules()->at(0).generation, 1u);
    EXPECT_EQ(parameter(stack, "alpha"), "1");
    expect_intact(stack, *flow, "swapcc");
    EXPECT_TRUE(stack.swap(second));
    EXPECT_EQ(parameter(stack, "alpha"), "2");
    expect_serves(stack, "swapcc");
    EXPECT_TRUE(stack.unload("swapcc"));
  });
}

TEST_F(ASwap, WithAnInitThatDiesKeepsTheOldGeneration) {
  const auto first = plugin("swapcc", 1);
  const auto dying = plugin("swapcc", 4);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    const auto flow = start_flow(stack, "swapcc");
    ASSERT_TRUE(flow);
    const auto line = module_line(stack, "swapcc");
    expect_refused(stack.swap(dying), EFAULT, {"swapcc", "oops", "generation 1 serves on"});
    EXPECT_EQ(module_line(stack, "swapcc"), line);
    expect_refused(stack.swap(dying), EFAULT, {"swapcc"});
    expect_intact(stack, *flow, "swapcc");
    const auto report = stack.swap(second);
    ASSERT_TRUE(report) << report.error().message();
    expect_serves(stack, "swapcc");
  });
}

TEST_F(ASwap, WithAParameterThatKillsTheNewModuleKeepsTheOldGeneration) {
  const auto first = plugin("swapcc", 1);
  const auto dying = plugin("swapcc", 5);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    expect_refused(stack.swap(dying, {.parameters = "hold=get"}), EFAULT, {"swapcc", "oops"});
    expect_serves(stack, "swapcc");
    const auto report = stack.swap(second);
    ASSERT_TRUE(report) << report.error().message();
    expect_serves(stack, "swapcc");
  });
}

TEST_F(ASwap, CarriesParametersThatWereGivenOrChanged) {
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first, "alpha=7"));
    ASSERT_TRUE(stack.swap(second, kMove));
    EXPECT_EQ(parameter(stack, "alpha"), "7");       // given
    EXPECT_EQ(parameter(stack, "untouched"), "20");  // the new source's default
    ASSERT_TRUE(stack.write_file("/sys/module/swapcc/parameters/untouched", "99"));
    ASSERT_TRUE(stack.swap(first, {.parameters = "alpha=8"}));
    EXPECT_EQ(parameter(stack, "alpha"), "8");       // asked for now
    EXPECT_EQ(parameter(stack, "untouched"), "99");  // changed since
    ASSERT_TRUE(stack.swap(second, kMove));
    EXPECT_EQ(parameter(stack, "alpha"), "8");
    EXPECT_EQ(parameter(stack, "untouched"), "99");
  });
}

TEST_F(ASwap, LeavesOldCodeThatIsHeldAsAZombieUntilItIsLetGo) {
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(first));
    ASSERT_TRUE(stack.write_file("/sys/module/swapcc/parameters/hold", "get"));
    const auto report = stack.swap(second, kMove);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->zombie);
    const auto modules = stack.modules().value();
    ASSERT_EQ(modules.size(), 2u);
    const auto zombie = std::ranges::find(modules, "zombie", &ModuleInfo::state);
    ASSERT_NE(zombie, modules.end());
    EXPECT_EQ(zombie->refcount, 1);
    EXPECT_EQ(zombie->generation, 1u);
    expect_serves(stack, "swapcc");

    ASSERT_TRUE(
        stack.write_file(fmt::format("/sys/module/{}/parameters/hold", zombie->name), "put"));
    const auto unloaded = stack.unload(zombie->name);
    EXPECT_TRUE(unloaded) << unloaded.error().message();
    EXPECT_EQ(stack.modules()->size(), 1u);
    expect_serves(stack, "swapcc");
  });
}

TEST_F(ASwap, OfWhatIsNotLoadedIsRefused) {
  const auto first = plugin("swapcc", 1);
  run([&](Stack& stack) {
    expect_refused(stack.swap(first), ENOENT, {"swapcc", "not loaded", "lkm-run load"});
    expect_refused(stack.swap("/nonexistent.so"), ENOENT, {"/nonexistent.so"});
    expect_serves(stack);
  });
}

TEST_F(ASwap, ThatLoadsAnotherKindOfModuleAnewNeedsItIdle) {
  const auto faulty = plugin("faulty");
  run([&](Stack& stack) {
    ASSERT_TRUE(stack.load(faulty));
    ASSERT_TRUE(stack.write_file("/sys/module/faulty/parameters/trigger", "get"));
    expect_refused(stack.swap(faulty, kMove), EBUSY, {"faulty", "in use", "HINT"});
    EXPECT_NE(module_line(stack, "faulty"), "");
    ASSERT_TRUE(stack.write_file("/sys/module/faulty/parameters/trigger", "put"));
    const auto report = stack.swap(faulty, kMove);
    ASSERT_TRUE(report) << report.error().message();
    expect_refused(stack.swap(faulty, {.parameters = "init_error=-22"}), EINVAL,
                   {"faulty", "old code serves on"});
    EXPECT_NE(module_line(stack, "faulty"), "");
    expect_serves(stack);
  });
}

TEST_F(ASwap, IsRepeatedTwoHundredTimesUnderAFlowWithoutGrowth) {
  const auto first = plugin("swapcc", 1);
  const auto second = plugin("swapcc", 2);
  run([&](Stack& stack) {
    const auto maps = [] { return std::ranges::count(read_file("/proc/self/maps").value(), '\n'); };
    const auto descriptors = [] {
      return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
    };
    ASSERT_TRUE(stack.load(first));
    const auto flow = start_flow(stack, "swapcc");
    ASSERT_TRUE(flow);
    std::ptrdiff_t maps_before = 0;
    std::ptrdiff_t descriptors_before = 0;
    for (int i = 0; i < 200; ++i) {
      if (i == 20) {
        maps_before = maps();
        descriptors_before = descriptors();
      }
      const auto report = stack.swap(i % 2 == 0 ? second : first, kMove);
      ASSERT_TRUE(report) << i << ": " << report.error().message();
      ASSERT_FALSE(report->zombie) << i;
      stack.sleep_for(1ms);
    }
    EXPECT_LE(maps(), maps_before + 50);  // call stacks of fibers are kept, plugins are not
    EXPECT_EQ(descriptors(), descriptors_before);
    EXPECT_EQ(stack.modules()->at(0).generation, 201u);
    expect_intact(stack, *flow, "swapcc");
  });
}

}  // namespace
}  // namespace lkm
