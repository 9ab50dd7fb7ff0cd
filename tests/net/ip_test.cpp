// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/ip.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

IpPrefix ip(const char* text) { return IpPrefix::parse(text).value(); }

TEST(IpPrefix, ReadsAndWritesBothFamilies) {
  for (const char* text : {"10.0.0.1/24", "0.0.0.0/0", "fd00::1/64", "::/0"})
    EXPECT_EQ(ip(text).str(), text);
  EXPECT_EQ(ip("10.0.0.1").length, 32);
  EXPECT_EQ(ip("::1").length, 128);
}

TEST(IpPrefix, RefusesWhatIsNoAddress) {
  for (const char* text : {"", "10.0.0", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/8x",
                           "fd00::1/129", "example", "/24"})
    EXPECT_FALSE(IpPrefix::parse(text)) << text;
}

TEST(IpPrefix, KnowsWhatLiesInTheNetwork) {
  EXPECT_TRUE(ip("10.77.0.1/30").contains(ip("10.77.0.2/30")));
  EXPECT_FALSE(ip("10.77.0.1/30").contains(ip("10.77.0.4/30")));
  EXPECT_TRUE(ip("fd00::1/64").contains(ip("fd00::ffff")));
  EXPECT_FALSE(ip("fd00::1/64").contains(ip("fd00:0:0:1::1")));
  EXPECT_FALSE(ip("0.0.0.0/0").contains(ip("::1")));
  EXPECT_FALSE(ip("10.0.0.0/24").contains(ip("10.0.0.0/8")));
}

TEST(SocketAddress, ShowsAddressAndPort) {
  EXPECT_EQ(SocketAddress(ip("10.0.0.1"), 80).str(), "10.0.0.1:80");
  EXPECT_EQ(SocketAddress(ip("fd00::1"), 65535).str(), "[fd00::1]:65535");
}

}  // namespace
}  // namespace lkm
