// SPDX-License-Identifier: GPL-2.0
#include "toolkit/flow/json.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

TEST(FlowJson, ReadsEveryMember) {
  const auto spec = flow_spec_from_json({{"kind", "requests"},
                                         {"client", "c"},
                                         {"server", "s"},
                                         {"transport", "mptcp"},
                                         {"family", "v6"},
                                         {"port", 5001},
                                         {"control", "cubic"},
                                         {"bytes", "1MiB"},
                                         {"requests", 100},
                                         {"duration", "5s"},
                                         {"request_bytes", "10B"},
                                         {"response_bytes", "2kB"},
                                         {"interval", "10ms"},
                                         {"seed", 9}});
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->kind, FlowKind::kRequests);
  EXPECT_EQ(spec->route.client, "c");
  EXPECT_EQ(spec->route.server, "s");
  EXPECT_EQ(spec->route.transport, Transport::kMptcp);
  EXPECT_EQ(spec->route.family, IpFamily::kV6);
  EXPECT_EQ(spec->route.port, 5001);
  EXPECT_EQ(spec->route.control, "cubic");
  EXPECT_EQ(spec->bytes, 1u << 20);
  EXPECT_EQ(spec->requests, 100u);
  EXPECT_EQ(spec->duration, 5s);
  EXPECT_EQ(spec->request_bytes, 10u);
  EXPECT_EQ(spec->response_bytes, 2000u);
  EXPECT_EQ(spec->interval, 10ms);
  EXPECT_EQ(spec->seed, 9u);
}

TEST(FlowJson, TakesTheFamilyFromAnAddress) {
  const auto spec = flow_spec_from_json({{"address", "fd00::1"}});
  ASSERT_TRUE(spec) << spec.error().message();
  EXPECT_EQ(spec->route.family, IpFamily::kV6);
}

TEST(FlowJson, NamesTheMemberThatIsWrong) {
  const auto error = [](json object) {
    const auto spec = flow_spec_from_json(object);
    return spec ? "" : spec.error().what();
  };
  EXPECT_EQ(error(json::object()), "");
  EXPECT_NE(error({{"knd", "bulk"}}).find("knd"), std::string::npos);
  EXPECT_NE(error({{"kind", "flood"}}).find("bulk, requests"), std::string::npos);
  EXPECT_NE(error({{"transport", "dccp"}}).find("transport"), std::string::npos);
  EXPECT_NE(error({{"port", 70000}}).find("port"), std::string::npos);
  EXPECT_NE(error({{"bytes", "10"}}).find("10"), std::string::npos);
  EXPECT_FALSE(flow_spec_from_json(json::array()));
}

}  // namespace
}  // namespace lkm
