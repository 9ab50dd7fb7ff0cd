// SPDX-License-Identifier: GPL-2.0
#include "toolkit/control/kernel_log.hpp"

#include <gtest/gtest.h>

namespace lkm::control {
namespace {

TEST(LogRecord, IsReadFromWhatDevKmsgGives) {
  const auto record = parse_log_record("30,339,5140900,-;NET: Registered PF_INET\n SUBSYSTEM=net\n");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->level, 6u);  // 30 = facility 3, level 6
  EXPECT_EQ(record->sequence, 339u);
  EXPECT_EQ(record->at, std::chrono::microseconds(5140900));
  EXPECT_EQ(record->text, "NET: Registered PF_INET");
}

TEST(LogRecord, KeepsSemicolonsAndFurtherFields) {
  const auto record = parse_log_record("4,1,2,c,caller=T1;a;b\n");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->text, "a;b");
}

TEST(LogRecord, UndoesTheEscapesOfTheKernel) {
  EXPECT_EQ(parse_log_record("6,1,2,-;a\\x0ab\\x5cx\n")->text, "a\nb\\x");
  EXPECT_EQ(parse_log_record("6,1,2,-;\\xzz \\x1\n")->text, "\\xzz \\x1");
}

TEST(LogRecord, RefusesWhatIsNone) {
  for (const char* text : {"", ";", "6", "6,1,2", "6,1;x", "a,1,2,-;x", "6,1,2,-"}) {
    EXPECT_FALSE(parse_log_record(text)) << text;
  }
}

}  // namespace
}  // namespace lkm::control
