// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/stack_file.hpp"

#include <gtest/gtest.h>

namespace lkm::control {
namespace {

constexpr std::string_view kWhole = R"([sysctl]
"net.ipv4.tcp_ecn" = 1

[sysctl.server]
"net.ipv4.tcp_congestion_control" = "mycc"

[[module]]
source = "./mycc"
parameters = "alpha=3"

[[module]]
source = "tcp_bbr"

[[netns]]
name = "spare"

[[link]]
a = "client"
b = "server"
rate = "100mbit"
delay = "5ms"
loss = "0.1%"
queue = 100

[[address]]
netns = "client"
device = "link0"
address = "2001:db8::1/64"

[[route]]
netns = "client"
to = "192.0.2.0/24"
gateway = "10.77.0.2"

[[capture]]
netns = "client"
device = "link0"
file = "all.pcap"
snap = 96

[[device]]
name = "eth0"
cable = "cable"
address = "10.0.0.1/24"
)";

std::string complaint(std::string_view text) {
  const auto commands = parse_stack_file(text, "stack.toml", "/home/me");
  return commands ? "nothing" : commands.error().what();
}

TEST(AStackFile, IsDoneInTheOrderThatItsPartsNeed) {
  const auto commands = parse_stack_file(kWhole, "stack.toml", "/home/me");
  ASSERT_TRUE(commands) << commands.error().message();
  std::string order;
  for (const Command& command : *commands) order += command.method + " ";
  EXPECT_EQ(order, "netns.add link.add device.add capture.start address.add route.add load load sysctl sysctl ");
  EXPECT_EQ((*commands)[1].params, Json({{"a", "client"}, {"b", "server"}, {"rate", "100mbit"}, {"delay", "5ms"},
                                         {"loss", "0.1%"}, {"queue", 100}}));
  EXPECT_EQ((*commands)[1].where, "stack.toml:17:1");
  EXPECT_EQ((*commands)[2].params["cable"], "/home/me/cable");
  EXPECT_EQ((*commands)[3].params, Json({{"netns", "client"}, {"device", "link0"}, {"file", "/home/me/all.pcap"}, {"snap", 96}}));
  EXPECT_EQ((*commands)[6].params, Json({{"what", "/home/me/mycc"}, {"parameters", "alpha=3"}}));
  EXPECT_EQ((*commands)[7].params, Json({{"what", "tcp_bbr"}}));
  EXPECT_EQ((*commands)[8].params, Json({{"name", "net.ipv4.tcp_ecn"}, {"value", "1"}}));
  EXPECT_EQ((*commands)[9].params["netns"], "server");
}

TEST(AStackFile, ComesOutAsItWentIn) {
  const auto commands = parse_stack_file(kWhole, "stack.toml", "/home/me");
  ASSERT_TRUE(commands);
  const std::string text = to_stack_file(*commands);
  const auto again = parse_stack_file(text, "again.toml", "/elsewhere");
  ASSERT_TRUE(again) << again.error().message() << "\n" << text;
  EXPECT_EQ(to_stack_file(*again), text);
  ASSERT_EQ(again->size(), commands->size());
  for (std::size_t i = 0; i < again->size(); ++i) EXPECT_EQ((*again)[i].params, (*commands)[i].params);
}

TEST(AStackFile, NamesThePlaceOfAMistake) {
  EXPECT_EQ(complaint(""), "nothing");
  EXPECT_EQ(complaint("[[link]]\na = \"x\"\n"), "stack.toml:1:1: a link needs 'b'");
  EXPECT_EQ(complaint("[[link]]\na = \"x\"\nb = \"y\"\nrate = \"fast\"\n").substr(0, 16), "stack.toml:4:8: ");
  EXPECT_EQ(complaint("[[link]]\na = \"x\"\nb = \"y\"\nrate = 100\n"),
            "stack.toml:4:8: 'rate' must be text with a unit, in quotes");
  EXPECT_EQ(complaint("[[link]]\na = \"x\"\nb = \"y\"\nqueue = -1\n"),
            "stack.toml:4:9: 'queue' must be a whole number, not negative");
  EXPECT_EQ(complaint("[[address]]\ndevice = \"lo\"\naddress = \"10.0.0/8\"\n").substr(0, 17), "stack.toml:3:11: ");
  EXPECT_EQ(complaint("[[device]]\nname = \"eth0\"\n"), "stack.toml:1:1: a device needs one of tap, packet, cable, memif, uplink and pcap");
  EXPECT_EQ(complaint("[[device]]\nname = \"eth0\"\ntap = \"t\"\ncable = \"c\"\n"),
            "stack.toml:1:1: a device needs one of tap, packet, cable, memif, uplink and pcap");
  EXPECT_EQ(complaint("[[netns]]\nname = \"x\"\ncolour = \"red\"\n"), "stack.toml:3:1: a netns has no key 'colour'");
  EXPECT_EQ(complaint("[netns]\nname = \"x\"\n"), "stack.toml:1:1: 'netns' must be tables: [[netns]]");
  EXPECT_EQ(complaint("[[flow]]\n"), "stack.toml:1:3: a stack has no key 'flow'");
  EXPECT_EQ(complaint("[sysctl]\n\"net.ipv4.tcp_ecn\" = true\n"),
            "stack.toml:2:22: the sysctl 'net.ipv4.tcp_ecn' must be text or a whole number");
  EXPECT_EQ(complaint("[[link\n").substr(0, 11), "stack.toml:");
}

}  // namespace
}  // namespace lkm::control
