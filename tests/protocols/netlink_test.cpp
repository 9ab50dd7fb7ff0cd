// SPDX-License-Identifier: GPL-2.0
#include <algorithm>

#include "tests/protocols/stack_test.hpp"
#include "toolkit/net/rtnl.hpp"

namespace lkm {
namespace {

using namespace std::chrono_literals;

IpPrefix ip(const char* text) { return IpPrefix::parse(text).value(); }

class Rtnetlink : public StackTest {
 protected:
  // A veth pair "a" in netns left, "b" in netns right.
  static Result<Rtnl> pair(Stack& stack) {
    for (const char* name : {"left", "right"}) LKM_CHECK(stack.netns_add(name));
    LKM_TRY(Rtnl net, Rtnl::open(stack, "left"));
    LKM_CHECK(net.veth_add("a", {.peer_netns = "right", .peer = "b"}));
    return net;
  }
};

TEST_F(Rtnetlink, MakesAPairAcrossNamespaces) {
  boot([](Stack& stack) {
    auto left = pair(stack);
    ASSERT_TRUE(left) << left.error().message();
    auto right = Rtnl::open(stack, "right");
    ASSERT_TRUE(right) << right.error().message();
    EXPECT_TRUE(left->link_index("a"));
    EXPECT_TRUE(right->link_index("b"));
    EXPECT_EQ(left->link_index("b").error().errno_value(), ENODEV);
    ASSERT_TRUE(left->link_del("a"));
    EXPECT_EQ(right->link_index("b").error().errno_value(), ENODEV);
  });
}

TEST_F(Rtnetlink, ListsTheAddressesThatWereAdded) {
  boot([](Stack& stack) {
    auto net = pair(stack);
    ASSERT_TRUE(net) << net.error().message();
    for (const char* text : {"10.1.2.3/24", "fd00:1::3/64"}) {
      const auto added = net->addr_add("a", ip(text));
      EXPECT_TRUE(added) << added.error().message();
    }
    const auto found = net->addresses();
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(found->size(), 2u);
    for (const char* text : {"10.1.2.3/24", "fd00:1::3/64"})
      EXPECT_EQ(std::ranges::count(*found, ip(text)), 1) << text;
  });
}

TEST_F(Rtnetlink, SaysWhatTheKernelSays) {
  boot([](Stack& stack) {
    auto net = pair(stack);
    ASSERT_TRUE(net) << net.error().message();
    const auto unknown = net->qdisc_set("a", "nonesuch");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().errno_value(), ENOENT);
    EXPECT_NE(unknown.error().what().find("kernel: "), std::string::npos) << unknown.error().what();
    ASSERT_TRUE(net->addr_add("a", ip("10.1.2.3/24")));
    EXPECT_EQ(net->addr_add("a", ip("10.1.2.3/24")).error().errno_value(), EEXIST);
    EXPECT_EQ(net->addr_add("none", ip("10.1.2.3/24")).error().errno_value(), ENODEV);
  });
}

TEST_F(Rtnetlink, SetsTheQdiscsThatPathsAreMadeOf) {
  boot([](Stack& stack) {
    auto net = pair(stack);
    ASSERT_TRUE(net) << net.error().message();
    for (const char* kind : {"fq", "fq_codel", "pfifo"}) {
      const auto set = net->qdisc_set("a", kind);
      EXPECT_TRUE(set) << set.error().message();
    }
    const auto set = net->qdisc_netem("a", {.delay = 5ms, .loss = 0.01, .rate = 10'000'000});
    EXPECT_TRUE(set) << set.error().message();
    EXPECT_TRUE(net->qdisc_del("a"));
  });
}

TEST_F(Rtnetlink, RoutesThroughAGateway) {
  boot([](Stack& stack) {
    auto left = pair(stack);
    ASSERT_TRUE(left) << left.error().message();
    auto right = Rtnl::open(stack, "right");
    ASSERT_TRUE(right) << right.error().message();
    ASSERT_TRUE(left->addr_add("a", ip("10.1.0.1/30")) && left->link_up("a"));
    ASSERT_TRUE(right->addr_add("b", ip("10.1.0.2/30")) && right->link_up("b"));
    ASSERT_TRUE(right->addr_add("lo", ip("192.0.2.1/32")));
    const FlowSpec spec{.route = {.client = "left", .server = "right", .address = ip("192.0.2.1")},
                        .bytes = 100'000};
    EXPECT_EQ(Flow::start(stack, spec).error().errno_value(), ENETUNREACH);
    const auto routed = left->route_add(std::nullopt, ip("10.1.0.2"));
    ASSERT_TRUE(routed) << routed.error().message();
    expect_intact(stack, spec);
  });
}

}  // namespace
}  // namespace lkm
