// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/units.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

using namespace std::chrono_literals;

TEST(Units, ReadsDurationsOfEveryUnit) {
  EXPECT_EQ(parse_duration("250ns").value(), 250ns);
  EXPECT_EQ(parse_duration("50us").value(), 50us);
  EXPECT_EQ(parse_duration("2.5ms").value(), 2500us);
  EXPECT_EQ(parse_duration("1.5s").value(), 1500ms);
  EXPECT_EQ(parse_duration("2min").value(), 2min);
  EXPECT_EQ(parse_duration("1h").value(), 1h);
}

TEST(Units, ReadsRatesInPowersOfThousand) {
  EXPECT_EQ(parse_rate("800bit").value(), 800u);
  EXPECT_EQ(parse_rate("64kbit").value(), 64'000u);
  EXPECT_EQ(parse_rate("100Mbit").value(), 100'000'000u);
  EXPECT_EQ(parse_rate("2.5gbit").value(), 2'500'000'000u);
}

TEST(Units, TellsDecimalFromBinarySizes) {
  EXPECT_EQ(parse_size("1500B").value(), 1500u);
  EXPECT_EQ(parse_size("64kB").value(), 64'000u);
  EXPECT_EQ(parse_size("64KiB").value(), 65'536u);
  EXPECT_EQ(parse_size("1GiB").value(), 1u << 30);
}

TEST(Units, ReadsFractionsAsPercent) {
  EXPECT_DOUBLE_EQ(parse_fraction("0.1%").value(), 0.001);
  EXPECT_DOUBLE_EQ(parse_fraction("100%").value(), 1.0);
  EXPECT_EQ(parse_fraction("101%").error().errno_value(), ERANGE);
}

TEST(Units, RefusesABareNumberButZero) {
  const auto bare = parse_duration("10");
  ASSERT_FALSE(bare);
  EXPECT_EQ(bare.error().errno_value(), EINVAL);
  EXPECT_NE(bare.error().what().find("'10'"), std::string::npos);
  EXPECT_NE(bare.error().hint().find("ms"), std::string::npos);
  EXPECT_EQ(parse_duration("0").value(), 0ns);
}

TEST(Units, RefusesWhatIsNoQuantity) {
  for (const char* text : {"", "ms", "-1ms", "-0ms", "1 ms", "1mss", "nanms", "infs", "1e3ms",
                           "0x10ms", "1..5ms", "ms1", "10mbit"})
    EXPECT_FALSE(parse_duration(text)) << text;
  EXPECT_EQ(parse_duration("99999999999999999h").error().errno_value(), ERANGE);
}

TEST(Units, WritesTheLargestUnitThatFits) {
  EXPECT_EQ(format_duration(0ns), "0ns");
  EXPECT_EQ(format_duration(2500us), "2.5ms");
  EXPECT_EQ(format_duration(90s), "90s");
  EXPECT_EQ(format_duration(10min), "10min");
  EXPECT_EQ(format_rate(98.3e6), "98.3mbit");
  EXPECT_EQ(format_fraction(0.001), "0.1%");
  EXPECT_EQ(format_size(65536), "64KiB");
}

}  // namespace
}  // namespace lkm
