// SPDX-License-Identifier: GPL-2.0
#include "toolkit/net/json.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

TEST(LinkJson, ReadsEveryMember) {
  const auto spec = link_spec_from_json({{"a", "client"},
                                         {"b", "server"},
                                         {"rate", "100mbit"},
                                         {"delay", "10ms"},
                                         {"jitter", "1ms"},
                                         {"loss", "0.1%"},
                                         {"queue", 50},
                                         {"mtu", 9000}});
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->a, "client");
  EXPECT_EQ(spec->b, "server");
  EXPECT_EQ(spec->rate, 100'000'000u);
  EXPECT_EQ(spec->delay, 10ms);
  EXPECT_EQ(spec->jitter, 1ms);
  EXPECT_DOUBLE_EQ(spec->loss, 0.001);
  EXPECT_EQ(spec->queue, 50u);
  EXPECT_EQ(spec->mtu, 9000u);
}

TEST(LinkJson, NamesTheMemberThatIsWrong) {
  const auto error = [](json change) {
    json object = {{"a", "x"}, {"b", "y"}};
    object.update(change);
    const auto spec = link_spec_from_json(object);
    return spec ? "" : spec.error().what();
  };
  EXPECT_EQ(error(json::object()), "");
  EXPECT_NE(error({{"dealy", "1ms"}}).find("dealy"), std::string::npos);
  EXPECT_NE(error({{"queue", -1}}).find("queue"), std::string::npos);
  EXPECT_NE(error({{"queue", 5e9}}).find("queue"), std::string::npos);
  EXPECT_NE(error({{"delay", 10}}).find("delay"), std::string::npos);
  EXPECT_NE(error({{"delay", "10"}}).find("10"), std::string::npos);
  EXPECT_NE(error({{"delay", ""}}), "");
  EXPECT_FALSE(link_spec_from_json({{"a", "x"}}));
  EXPECT_FALSE(link_spec_from_json(json::array()));
  EXPECT_FALSE(link_spec_from_json(nullptr));
}

}  // namespace
}  // namespace lkm
