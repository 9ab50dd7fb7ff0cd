// SPDX-License-Identifier: GPL-2.0
#include "toolkit/base/log.hpp"

#include <gtest/gtest.h>

namespace lkm {
namespace {

class Log : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(log::configure("warning")); }
  void TearDown() override { ASSERT_TRUE(log::configure("warning")); }
};

TEST_F(Log, ShowsWarningsByDefaultAndNothingBelow) {
  EXPECT_TRUE(log::enabled("watch", log::Level::kWarning));
  EXPECT_FALSE(log::enabled("watch", log::Level::kInfo));
}

TEST_F(Log, SetsOneModuleApartFromTheOthers) {
  ASSERT_TRUE(log::configure("error,watch=debug,build=off"));
  EXPECT_TRUE(log::enabled("watch", log::Level::kDebug));
  EXPECT_FALSE(log::enabled("build", log::Level::kError));
  EXPECT_TRUE(log::enabled("host", log::Level::kError));
  EXPECT_FALSE(log::enabled("host", log::Level::kWarning));
}

TEST_F(Log, RefusesAnUnknownLevelAndKeepsTheOldSetting) {
  ASSERT_TRUE(log::configure("info"));
  const auto wrong = log::configure("debug,watch=loud");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().what().find("watch=loud"), std::string::npos);
  EXPECT_NE(wrong.error().hint().find("debug"), std::string::npos);
  EXPECT_TRUE(log::enabled("watch", log::Level::kInfo));
  EXPECT_FALSE(log::enabled("watch", log::Level::kDebug));
}

TEST_F(Log, TakesTheSettingFromTheEnvironment) {
  ::setenv("LKM_RUN_LOG", "net=info", 1);
  ASSERT_TRUE(log::configure_from_environment());
  ::unsetenv("LKM_RUN_LOG");
  EXPECT_TRUE(log::enabled("net", log::Level::kInfo));
}

TEST_F(Log, WritesWholeLinesWithModuleAndLevelAndKeepsErrno) {
  testing::internal::CaptureStderr();
  errno = ENOTTY;
  log::warning("watch", "{} events", 3);
  log::info("watch", "not shown");
  EXPECT_EQ(errno, ENOTTY);
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(line.find(" watch warning: 3 events\n"), std::string::npos);
  EXPECT_EQ(line.find("not shown"), std::string::npos);
}

}  // namespace
}  // namespace lkm
